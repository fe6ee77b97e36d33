"""A real Keycloak on loopback, for the end-to-end tests: its distribution, its process, and its administration."""

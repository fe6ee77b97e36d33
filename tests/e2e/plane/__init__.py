"""A real Kubernetes control plane on loopback for tests, demo and bench; nothing here is about kagenti."""

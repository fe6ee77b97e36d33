"""The real Envoy on loopback with a bootstrap like ours in small: one listener whose routes and one slot come over ADS."""

"""Light clients of an xDS server: thousands of Envoys' streams in one process that costs less than what it measures."""

"""Benches: real processes on a real API server; each prints a table and writes a plot."""

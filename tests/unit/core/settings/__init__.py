"""Unit tests of the merge engine."""

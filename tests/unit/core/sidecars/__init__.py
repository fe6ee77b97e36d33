"""Tests of what a pod gets."""

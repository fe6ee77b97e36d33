"""Decisions: no I/O, no clock, no environment, no asyncio. Enforced by import contracts and a syntax-tree test."""

"""The API of kagenti as Python types: what a user may write, and nothing that acts on it."""

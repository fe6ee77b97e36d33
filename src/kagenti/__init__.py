"""kagenti: identity, token exchange and observability for AI-agent workloads on Kubernetes."""

__version__ = "0.1.0"

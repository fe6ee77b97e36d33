"""Shell: HTTP to servers that nobody vouches for, hardened once for key sets and agent cards."""

from kagenti.fetch.apiservers import ApiServers
from kagenti.fetch.client import Answer, Fetcher, Limits

__all__ = ["Answer", "ApiServers", "Fetcher", "Limits"]

"""Envoy's refusals as one readable line: the dump of the resource is taken off, the reason at its end kept."""

from typing import Final

# Facts §6: the reason stands at the end; what comes before may be the resource, which must never be published.
_KEPT: Final = 200


def clean(message: str) -> str:
    """Returns the reason of a NACK as one line of at most 200 characters."""
    line = " ".join(message.split())
    return line[-_KEPT:]

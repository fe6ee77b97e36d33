"""Requests and limits of the injected containers: amounts of different layers that do not fit together."""

from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Final

from kagenti.core.settings.identity_provider import CONFIG_INVALID
from kagenti.core.settings.model import Finding, Merged
from kagenti_api.v1alpha1.built_in import BUILT_IN

# Kubernetes documentation, "Quantity": the suffixes that the API of the layered block allows.
_UNITS: Final = {
    "m": Decimal("0.001"),
    "k": Decimal(10**3),
    "M": Decimal(10**6),
    "G": Decimal(10**9),
    "T": Decimal(10**12),
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
}


def faults(merged: Merged) -> Iterator[Finding]:
    """Yields every limit below its request: the API server refuses such a pod ("must be less than or equal to")."""
    for component in BUILT_IN["components"]:
        if not merged.values[f"components.{component}.enabled"]:
            continue
        for kind in ("cpu", "memory"):
            base = f"components.{component}.resources"
            yield from _fault(merged, request=f"{base}.requests.{kind}", limit=f"{base}.limits.{kind}")


def _fault(merged: Merged, *, request: str, limit: str) -> Iterator[Finding]:
    asked, most = merged.values[request], merged.values[limit]
    allowed, needed = amount(most), amount(asked)
    if allowed is None or needed is None or allowed >= needed:  # the schema lets no other text through
        return
    sources = {merged.origins[path].source for path in (request, limit)}
    objects = tuple(sorted(str(source) for source in sources if source.layer != "built-in"))
    message = f"{limit} is {most!r}, which is below {request} {asked!r}; mend {' or '.join(objects)}"
    yield Finding(CONFIG_INVALID, message, limit, objects)


def amount(quantity: str) -> Decimal | None:
    """Returns a quantity in base units; None for a text that is none."""
    suffix = next((end for end in _UNITS if quantity.endswith(end)), "")
    try:
        found = Decimal(quantity.removesuffix(suffix)) * _UNITS.get(suffix, Decimal(1))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None  # "NaN" and "Infinity" are numbers to Decimal alone

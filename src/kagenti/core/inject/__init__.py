"""Pod + sidecars → JSON patch, and back; idempotent, by construction, with a receipt and refusals."""

from kagenti.core.inject.apply import TOUCH_LIST, Injection, inject
from kagenti.core.inject.neighbours import named
from kagenti.core.inject.patch import Operation, Patch
from kagenti.core.inject.preflight import preflight
from kagenti.core.inject.receipt import Stamp, read
from kagenti.core.inject.refusal import REASONS, Refusal
from kagenti.core.inject.strip import carries_ours, uninject

__all__ = [
    "REASONS",
    "TOUCH_LIST",
    "Injection",
    "Operation",
    "Patch",
    "Refusal",
    "Stamp",
    "carries_ours",
    "inject",
    "named",
    "preflight",
    "read",
    "uninject",
]

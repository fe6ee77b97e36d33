"""Who triggers an injection: the truth table of label, AgentRuntime and policy, and which entry is called at all."""

from kagenti.core.trigger.coverage import CALLED, Coverage, Entry, Mode, coverage_of, entry_of, matches
from kagenti.core.trigger.decision import (
    LABEL_VALUES,
    Decision,
    Outcome,
    Trigger,
    config_invalid,
    confirm,
    decide,
    kept,
    not_ready,
    nothing_left,
    unsupported_field,
)
from kagenti.core.trigger.policy import OwnerProof, Policy, exempt_by_owner

__all__ = [
    "CALLED",
    "LABEL_VALUES",
    "Coverage",
    "Decision",
    "Entry",
    "Mode",
    "Outcome",
    "OwnerProof",
    "Policy",
    "Trigger",
    "config_invalid",
    "confirm",
    "coverage_of",
    "decide",
    "entry_of",
    "exempt_by_owner",
    "kept",
    "matches",
    "not_ready",
    "nothing_left",
    "unsupported_field",
]

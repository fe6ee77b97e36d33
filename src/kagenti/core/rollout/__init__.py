"""Bare and stale pods of one workload → evictions or a restart: paced, budgeted, withheld where they would not help."""

from kagenti.core.rollout.choice import concerns
from kagenti.core.rollout.controller import Controller, read, unknown
from kagenti.core.rollout.facts import PACE, Facts, Pace, Pod, PodState, Policy, Webhook, policy_of
from kagenti.core.rollout.memory import NOTHING, Memory, Outcome, Report, examined, recalled, told
from kagenti.core.rollout.plan import Action, Evict, Examine, RestartWorkload, Step, step
from kagenti.core.rollout.prospect import AS_ITS_TEMPLATE, Prospect, prospect
from kagenti.core.rollout.registration import Registration, registration

__all__ = [
    "AS_ITS_TEMPLATE",
    "NOTHING",
    "PACE",
    "Action",
    "Controller",
    "Evict",
    "Examine",
    "Facts",
    "Memory",
    "Outcome",
    "Pace",
    "Pod",
    "PodState",
    "Policy",
    "Prospect",
    "Registration",
    "Report",
    "RestartWorkload",
    "Step",
    "Webhook",
    "concerns",
    "examined",
    "policy_of",
    "prospect",
    "read",
    "recalled",
    "registration",
    "step",
    "told",
    "unknown",
]

"""Facts in, plan out: the status of each of our objects, and the events to tell; no I/O and no clock."""

from kagenti.core.reconcile.conditions import Condition
from kagenti.core.reconcile.configs import ConfigFacts, plan_config
from kagenti.core.reconcile.facts import Pod, Rollout, RuntimeFacts, Surroundings, Target, Tools, Undertaken, Usage
from kagenti.core.reconcile.judge import Judged, State, judge
from kagenti.core.reconcile.leftovers import last_word, left_behind
from kagenti.core.reconcile.plan import OTHERS, Event, Plan
from kagenti.core.reconcile.runtime import judged_pods, plan_runtime, status_of
from kagenti.core.reconcile.verdicts import Verdicts

__all__ = [
    "OTHERS",
    "Condition",
    "ConfigFacts",
    "Event",
    "Judged",
    "Plan",
    "Pod",
    "Rollout",
    "RuntimeFacts",
    "State",
    "Surroundings",
    "Target",
    "Tools",
    "Undertaken",
    "Usage",
    "Verdicts",
    "judge",
    "judged_pods",
    "last_word",
    "left_behind",
    "plan_config",
    "plan_runtime",
    "status_of",
]

"""AgentCards: which pod is asked, where, what of its answer is kept, what status says of it, and when it is asked again."""

from kagenti.core.cards.document import MOST_BYTES, Card, read, unsigned
from kagenti.core.cards.endpoint import Networks, port_of, refuse_pod_address, urls_of
from kagenti.core.cards.membership import Key, Membership
from kagenti.core.cards.pods import AgentPod, Choice, Matched, Port, Revision, agent_pod, choose, match
from kagenti.core.cards.schedule import Schedule, calmed, first_slot, next_slot, retry
from kagenti.core.cards.status import COARSE, Failed, Fetched, Round, failure, plan_card, synced_of

__all__ = [
    "COARSE",
    "MOST_BYTES",
    "AgentPod",
    "Card",
    "Choice",
    "Failed",
    "Fetched",
    "Key",
    "Matched",
    "Membership",
    "Networks",
    "Port",
    "Revision",
    "Round",
    "Schedule",
    "agent_pod",
    "calmed",
    "choose",
    "failure",
    "first_slot",
    "match",
    "next_slot",
    "plan_card",
    "port_of",
    "read",
    "refuse_pod_address",
    "retry",
    "synced_of",
    "unsigned",
    "urls_of",
]

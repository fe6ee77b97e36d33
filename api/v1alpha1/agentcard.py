"""AgentCard: what an agent can do, fetched from its pods and kept in status for discovery."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from .meta import Column, Conditions, KindMarks, LabelSelector, ObjectMeta
from .model import ATOMIC, Cel, Model
from .scalars import Count, Duration, Port, Text, Url

SYNCED: Final = "Synced"
"""Condition: the card in status is what the agent serves."""
SYNC_SUCCESS: Final = "SyncSuccess"
"""True: fetched from the newest ready pod of the current revision."""
MULTIPLE_WORKLOADS: Final = "MultipleWorkloads"
"""True too: the selector matches pods of several workloads; the message says whose card won."""
NO_PODS: Final = "NoPods"
"""False: no pod has the labels."""
NO_READY_POD: Final = "NoReadyPod"
"""False: pods match, none of them is ready."""
HOST_NETWORK: Final = "HostNetwork"
"""False: the ready pods have the address of their node, which is never asked."""
FETCH_FAILURES: Final = (
    "NotFound",
    "Redirect",
    "BadStatus",
    "Encoded",
    "TooLarge",
    "Timeout",
    "Tls",
    "Unreachable",
    "BadAnswer",
    "ForbiddenAddress",
    "NotUtf8",
    "NotJson",
    "NotACard",
    "TooComplex",
    "Defect",
)
"""False: the pod was asked, and its answer is not used; in the order in which a fetch can fail but for the last, ours."""
CONSISTENT: Final = "Consistent"
"""Condition: the pods that were asked serve one card."""
CARDS_EQUAL: Final = "CardsEqual"
"""True."""
CARDS_DIFFER: Final = "CardsDiffer"
"""False: two ready pods of the current revision serve different cards."""
NOT_COMPARED: Final = "NotCompared"
"""Unknown: no card has been fetched from the pods that are ready now."""
A2A: Final = "a2a"
"""Protocol of every card so far."""
SYNC_PERIOD: Final = "30s"
"""Default of spec.syncPeriod."""


class CardEndpoint(Model):
    """Where the card is asked for; absent parts are chosen from the pod."""

    port: Port | None = None
    """Port; absent means the container port named a2a, then http, then the first, then 8081."""
    scheme: Literal["http", "https"] | None = None
    """Scheme; absent means http."""
    path: Annotated[str, Field(min_length=13, max_length=253, pattern=r"^/\.well-known/[A-Za-z0-9._~\-]+$")] | None = (
        None
    )
    """Path under /.well-known/; absent means agent-card.json, then agent.json."""


class AgentCardSpec(Model):
    """Which pods, how often, where."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.syncPeriod) || (duration(self.syncPeriod) >= duration('5s') && "
            "duration(self.syncPeriod) <= duration('24h'))",
            "syncPeriod must be 5s to 24h",
            ".syncPeriod",
        ),
    )

    selector: LabelSelector
    """Pods whose card is fetched."""
    sync_period: Duration | None = None
    """How often the card is fetched, 5s to 24h; absent means 30s."""
    endpoint: CardEndpoint | None = None
    """Where the card is asked for."""


class CardSource(Model):
    """Where the card in status came from."""

    pod: Text | None = None
    """Name of the pod."""
    url: Url | None = None
    """URL that was fetched."""


class AgentCardStatus(Model):
    """What was fetched."""

    observed_generation: Count | None = None
    """Generation that this status speaks of."""
    protocol: Annotated[str, Field(max_length=63)] | None = None
    """Protocol of the card, a2a."""
    last_sync_time: Annotated[str, Field(max_length=64)] | None = None
    """When the card was last fetched with success, RFC 3339."""
    conditions: Conditions | None = None
    """Conditions."""
    card: Annotated[dict[str, Any], Field(max_length=64, json_schema_extra=ATOMIC)] | None = (
        None  # Any: the agent's own
    )
    """The card as fetched, with all its fields; untrusted data of the agent."""
    source: CardSource | None = None
    """Where it came from."""
    matched_pods: Count | None = None
    """Pods that the selector matches."""
    matched_workloads: Count | None = None
    """Workloads that those pods belong to."""
    card_hash: Annotated[str, Field(max_length=64)] | None = None
    """SHA-256 of the card."""


class AgentCard(Model):
    """Makes an agent discoverable: its card is fetched from the selected pods and kept in status."""

    MARKS: ClassVar[KindMarks] = KindMarks(
        plural="agentcards",
        singular="agentcard",
        scope="Namespaced",
        short_names=("acard",),
        columns=(
            Column("Agent", "string", ".status.card.name"),
            Column("Version", "string", ".status.card.version"),
            Column("Protocol", "string", ".status.protocol"),
            Column("Synced", "string", '.status.conditions[?(@.type=="Synced")].status'),
            Column("Reason", "string", '.status.conditions[?(@.type=="Synced")].reason'),
            Column("Last-Sync", "date", ".status.lastSyncTime"),
            Column("Age", "date", ".metadata.creationTimestamp"),
            Column("Pods", "integer", ".status.matchedPods", priority=1),
            Column("Consistent", "string", '.status.conditions[?(@.type=="Consistent")].status', priority=1),
            Column("Source", "string", ".status.source.url", priority=1),
        ),
    )

    api_version: Literal["kagenti.io/v1alpha1"]
    kind: Literal["AgentCard"]
    metadata: ObjectMeta
    spec: AgentCardSpec
    """Which pods, how often, where."""
    status: AgentCardStatus | None = None
    """What was fetched."""

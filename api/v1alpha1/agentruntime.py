"""AgentRuntime: overrides for one workload, and in the modes cr and both the trigger of its injection."""

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from .meta import Column, Conditions, KindMarks, ObjectMeta, Propagations, TargetRef
from .model import Cel, Model
from .scalars import Count
from .settings import RuntimeSettings

# Condition types; the reasons that go with False, unless noted. Ready has the reason of the condition that it follows.
TARGET_RESOLVED: Final = "TargetResolved"
# True: Found. False: NotFound, NotTopOwner, UnsupportedTarget, Conflict. Unknown: Forbidden, NotRead.
CONFIG_RESOLVED: Final = "ConfigResolved"
# True: Resolved. False: ConfigInvalid, LockViolation, Unauthorised.
PODS_INJECTED: Final = "PodsInjected"
# True: Injected, StalePods, InterceptionNotEnforced, NoPods (none is wanted). Unknown: NoPods.
# False: BarePods, ForeignSidecars, TamperedPods, UnsupportedPod, NotEnrolled, LabelMissing, ReplacementBare, and the
# other reason codes of decisions that leave a pod alone (OptOut, InjectionDisabled, TypeExcluded, …).
# False for bare pods, True for stale ones: EvictionWithheld, NotReplaced. True: ReplacementStale, RestartNotAllowed,
# RestartNotSupported.
CONFIG_PROPAGATED: Final = "ConfigPropagated"  # False: Rejected, Pending, NoReplica; written by the xDS replicas
IDENTITY_READY: Final = "IdentityReady"
# True: Registered, IdentityDisabled. False: NotRegistered, ProxyNotReady. Unknown: NoPods.
READY: Final = "Ready"  # True: AsDesired. Else one of the reasons above.
CONDITIONS: Final = (TARGET_RESOLVED, CONFIG_RESOLVED, PODS_INJECTED, CONFIG_PROPAGATED, IDENTITY_READY, READY)
"""Every condition of an AgentRuntime, in the order in which they are told."""

NOT_FOUND: Final = "NotFound"
NOT_TOP_OWNER: Final = "NotTopOwner"
FORBIDDEN: Final = "Forbidden"
CONFLICT: Final = "Conflict"
CONFIG_INVALID: Final = "ConfigInvalid"
LOCK_VIOLATION: Final = "LockViolation"
BARE_PODS: Final = "BarePods"
NOT_ENROLLED: Final = "NotEnrolled"
LABEL_MISSING: Final = "LabelMissing"
UNSUPPORTED_POD: Final = "UnsupportedPod"
EVICTION_WITHHELD: Final = "EvictionWithheld"
INTERCEPTION_NOT_ENFORCED: Final = "InterceptionNotEnforced"  # with True
REJECTED: Final = "Rejected"
PENDING: Final = "Pending"
NO_REPLICA: Final = "NoReplica"
FOUND: Final = "Found"
NOT_READ: Final = "NotRead"
UNSUPPORTED_TARGET: Final = "UnsupportedTarget"
RESOLVED: Final = "Resolved"
UNAUTHORISED: Final = "Unauthorised"
INJECTED: Final = "Injected"
STALE_PODS: Final = "StalePods"
FOREIGN_SIDECARS: Final = "ForeignSidecars"
TAMPERED_PODS: Final = "TamperedPods"
NO_PODS: Final = "NoPods"
REGISTERED: Final = "Registered"
NOT_REGISTERED: Final = "NotRegistered"
PROXY_NOT_READY: Final = "ProxyNotReady"
IDENTITY_DISABLED: Final = "IdentityDisabled"
AS_DESIRED: Final = "AsDesired"
NOT_REPLACED: Final = "NotReplaced"
REPLACEMENT_BARE: Final = "ReplacementBare"
REPLACEMENT_STALE: Final = "ReplacementStale"
RESTART_NOT_ALLOWED: Final = "RestartNotAllowed"
RESTART_NOT_SUPPORTED: Final = "RestartNotSupported"
ROLLOUT_REASONS: Final = (
    EVICTION_WITHHELD,
    NOT_REPLACED,
    REPLACEMENT_BARE,
    REPLACEMENT_STALE,
    RESTART_NOT_ALLOWED,
    RESTART_NOT_SUPPORTED,
)
"""Reasons of PodsInjected that only a rollout gives."""
GIVEN_UP: Final = (REPLACEMENT_BARE, REPLACEMENT_STALE)
"""Reasons of a rollout that has ended without success; the next leader reads them, and begins no new one."""

ROLLOUT_BARE: Final = "Evict"
"""Default of rollout.bare: an AgentRuntime that arrives after its pods must not leave them without identity for ever."""
ROLLOUT_STALE: Final = "None"
"""Default of rollout.stale: stale pods are reported only."""


class Rollout(Model):
    """What is done about pods that are not what they should be; paced, budgeted, PodDisruptionBudgets respected."""

    bare: Literal["Evict", "None"] | None = None
    """Bare pods: Evict (default) or None."""
    stale: Literal["None", "Evict", "Restart"] | None = None
    """Pods with older restart settings: None (default, report only), Evict, or Restart of the workload."""


class AgentRuntimeSpec(RuntimeSettings):
    """Which workload, and the settings of the workload layer."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel("!has(self.workloadRef)", "workloadRef is not a field of AgentRuntime: use targetRef", ".workloadRef"),
        Cel("!has(self.card)", "card is not a field of AgentRuntime: create an AgentCard", ".card"),
        Cel("has(self.targetRef)", "targetRef is required: name the workload by apiVersion, kind and name"),
        Cel(
            "!has(oldSelf.targetRef) || !has(self.targetRef) || self.targetRef == oldSelf.targetRef",
            "targetRef is immutable: create another AgentRuntime for another workload",
        ),
    )

    target_ref: TargetRef | None = None
    """The workload: the top of its owner chain, in the same namespace. Required; immutable."""
    type: Literal["agent", "tool"] | None = None
    """Classifies a workload that carries no label kagenti.io/type; absent is shown as agent and never written to a pod."""
    rollout: Rollout | None = None
    """What is done about bare and stale pods."""
    workload_ref: Annotated[dict[str, Any], Field(max_length=16)] | None = None  # Any: refused whatever it holds
    """Not a field: use targetRef."""
    card: Annotated[dict[str, Any], Field(max_length=16)] | None = None  # Any: refused whatever it holds
    """Not a field: create an AgentCard."""


class IdentityStatus(Model):
    """What was observed of the identity; a field that was not observed is absent."""

    spiffe_enabled: bool | None = None
    """Whether SPIFFE is on."""
    idp_registered: bool | None = None
    """Whether the registration container reports a verified registration."""
    inbound_proxy_ready: bool | None = None
    """Whether Envoy validates inbound traffic."""
    outbound_proxy_ready: bool | None = None
    """Whether Envoy handles outbound traffic."""


class TraceStatus(Model):
    """What is in effect of the tracing settings."""

    exporters_configured: Count | None = None
    """Number of exporters in effect."""
    sampling_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Sampling rate in effect."""


Revision = Annotated[str, Field(max_length=64)]


class ConfigStatus(Model):
    """Revisions of the resolved settings."""

    revision: Revision | None = None
    """Both revisions together, short."""
    live_revision: Revision | None = None
    """Content hash of the live settings."""
    restart_revision: Revision | None = None
    """Content hash of the restart settings."""
    restart_fields: Annotated[list[Annotated[str, Field(max_length=128)]], Field(max_length=128)] | None = None
    """Restart settings that running pods do not have yet."""


class PodCounts(Model):
    """Pods of the workload by state."""

    total: Count | None = None
    """All pods."""
    injected: Count | None = None
    """Pods with our sidecars."""
    current: Count | None = None
    """Injected pods with the present restart settings."""
    stale: Count | None = None
    """Injected pods with older restart settings."""
    bare: Count | None = None
    """Pods that should have sidecars and have none."""
    opted_out: Count | None = None
    """Pods labelled disabled."""
    foreign: Count | None = None
    """Pods with another injector's sidecars."""
    tampered: Count | None = None
    """Pods whose sidecars differ from their receipt."""


class AgentRuntimeStatus(Model):
    """What is so; written by the operator and the xDS replicas."""

    observed_generation: Count | None = None
    """Generation that this status speaks of."""
    phase: Literal["Pending", "Active", "Degraded", "Error"] | None = None
    """Summary of the conditions."""
    message: Annotated[str, Field(max_length=32768)] | None = None
    """One sentence for people."""
    configured_pods: Count | None = None
    """Pods that are injected and current."""
    conditions: Conditions | None = None
    """Conditions."""
    identity: IdentityStatus | None = None
    """Identity as observed."""
    trace: TraceStatus | None = None
    """Tracing in effect."""
    config: ConfigStatus | None = None
    """Revisions."""
    pods: PodCounts | None = None
    """Pods by state."""
    propagation: Propagations | None = None
    """Proxies by xDS replica."""


class AgentRuntime(Model):
    """Overrides the layered settings for one workload; where AgentRuntimes trigger, its existence injects that workload."""

    MARKS: ClassVar[KindMarks] = KindMarks(
        plural="agentruntimes",
        singular="agentruntime",
        scope="Namespaced",
        short_names=("art", "agentrt"),
        selectable=(".spec.targetRef.kind", ".spec.targetRef.name", ".spec.type"),
        columns=(
            Column("Target-Kind", "string", ".spec.targetRef.kind"),
            Column("Target", "string", ".spec.targetRef.name"),
            Column("Type", "string", ".spec.type"),
            Column("Phase", "string", ".status.phase"),
            Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
            Column("Current", "integer", ".status.pods.current"),
            Column("Pods", "integer", ".status.pods.total"),
            Column("Stale", "integer", ".status.pods.stale", priority=1),
            Column("Revision", "string", ".status.config.revision", priority=1),
            Column("Message", "string", ".status.message", priority=1),
            Column("Age", "date", ".metadata.creationTimestamp"),
        ),
    )

    api_version: Literal["kagenti.io/v1alpha1"]
    kind: Literal["AgentRuntime"]
    metadata: ObjectMeta
    spec: AgentRuntimeSpec
    """Which workload, and the settings of the workload layer."""
    status: AgentRuntimeStatus | None = None
    """What is so."""

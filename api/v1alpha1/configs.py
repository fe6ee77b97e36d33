"""The two config kinds: the cluster layer and the namespace layer, with what they rule for the layers below."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from .fields import DELEGABLE_PATHS, LOCKABLE_PATHS
from .meta import Column, Conditions, KindMarks, LabelSelector, ObjectMeta, Propagations
from .model import Cel, Model
from .scalars import ApiVersion, Count, DnsLabel, DnsName, KindName, Url
from .settings import RuntimeSettings

VALID: Final = "Valid"  # True: Valid. False: ConfigInvalid, LockViolation, Unauthorised
POLICY_ENFORCED: Final = (
    "PolicyEnforced"  # True: Enforced, NotMandatory. False: PolicyUnenforced. Unknown: ConfigInvalid
)
POLICY_UNENFORCED: Final = "PolicyUnenforced"
ENFORCED: Final = "Enforced"
NOT_MANDATORY: Final = "NotMandatory"


def _one_of(paths: frozenset[str]) -> AfterValidator:
    """Returns the check that a path is one of these; the schema lists them as an enum."""

    def check(path: str) -> str:
        if path not in paths:
            raise ValueError("is not the path of a setting that may stand here")
        return path

    return AfterValidator(check)


LockedPath = Annotated[
    str, Field(json_schema_extra={"enum": sorted(LOCKABLE_PATHS)}, max_length=128), _one_of(LOCKABLE_PATHS)
]
DelegatedPath = Annotated[
    str, Field(json_schema_extra={"enum": sorted(DELEGABLE_PATHS)}, max_length=128), _one_of(DELEGABLE_PATHS)
]
ONE_NAME: Final = Cel(
    "self.metadata.name == 'default'", "metadata.name must be 'default': there is one such object in its scope"
)


class Exemption(Model):
    """Who is exempt from Mandatory: a top owner, or a service account; never a label, which a pod's author writes."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "has(self.serviceAccount) ? !has(self.apiVersion) && !has(self.kind) && !has(self.name) : "
            "has(self.apiVersion) && has(self.kind) && has(self.name)",
            "an exemption names either apiVersion, kind and name, or serviceAccount",
        ),
    )

    api_version: ApiVersion | None = None
    """API version of the top owner; the version part is not compared."""
    kind: KindName | None = None
    """Kind of the top owner."""
    name: DnsName | None = None
    """Name of the top owner."""
    service_account: DnsName | None = None
    """Service account of the pods."""


class NamespacePolicyEntry(Model):
    """The injection policy of some namespaces."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel("has(self.names) != has(self.selector)", "an entry has either names or selector"),
    )

    names: Annotated[list[DnsLabel], Field(min_length=1, max_length=256)] | None = None
    """Namespaces by name."""
    selector: LabelSelector | None = None
    """Namespaces by their labels."""
    injection: Literal["Optional", "Mandatory"] | None = None
    """Whether every pod of these namespaces must be injected."""
    exempt: Annotated[list[Exemption], Field(max_length=64)] | None = None
    """Who is exempt."""


class ClusterPolicy(Model):
    """What the cluster layer rules for the layers below."""

    locked: Annotated[list[LockedPath], Field(max_length=128)] | None = None
    """Paths that namespaces and workloads may not set; a path locks its subtree."""
    delegated: Annotated[list[DelegatedPath], Field(max_length=32)] | None = None
    """Cluster-only paths that are opened to the layers below."""
    identity_providers: Annotated[list[Url], Field(max_length=32)] | None = None
    """URL prefixes under which identity-provider URLs of the layers below must lie."""
    namespaces: Annotated[list[NamespacePolicyEntry], Field(max_length=64)] | None = None
    """Injection policy by namespace, and exemptions."""


class NamespacePolicy(Model):
    """What the namespace layer rules for its workloads."""

    locked: Annotated[list[LockedPath], Field(max_length=128)] | None = None
    """Paths that AgentRuntimes may not set; a path locks its subtree."""
    injection: Literal["Optional", "Mandatory"] | None = None
    """Whether every pod of the namespace must be injected."""


class ClusterConfigSpec(RuntimeSettings):
    """Settings of the cluster layer, and its policy."""

    policy: ClusterPolicy | None = None
    """What this layer rules for the layers below."""


class NamespaceConfigSpec(RuntimeSettings):
    """Settings of the namespace layer, and its policy."""

    policy: NamespacePolicy | None = None
    """What this layer rules for the workloads of its namespace."""


class ConfigStatus(Model):
    """What is so of a config kind."""

    observed_generation: Count | None = None
    """Generation that this status speaks of."""
    conditions: Conditions | None = None
    """Conditions."""
    revision: Annotated[str, Field(max_length=64)] | None = None
    """Revision in force."""
    namespaces: Count | None = None
    """Namespaces that this object reaches."""
    workloads: Count | None = None
    """Workloads that this object reaches."""
    propagation: Propagations | None = None
    """Proxies by xDS replica, summed over those workloads."""


_COLUMNS: Final = (
    Column("Valid", "string", '.status.conditions[?(@.type=="Valid")].status'),
    Column("Policy", "string", '.status.conditions[?(@.type=="PolicyEnforced")].status'),
    Column("Workloads", "integer", ".status.workloads"),
    Column("Revision", "string", ".status.revision", priority=1),
    Column("Age", "date", ".metadata.creationTimestamp"),
)


class AgentRuntimeClusterConfig(Model):
    """The cluster layer: settings for every workload, and what the layers below may change. Named default."""

    MARKS: ClassVar[KindMarks] = KindMarks(
        plural="agentruntimeclusterconfigs",
        singular="agentruntimeclusterconfig",
        scope="Cluster",
        short_names=("artcc",),
        columns=_COLUMNS,
        rules=(ONE_NAME,),
    )

    api_version: Literal["kagenti.io/v1alpha1"]
    kind: Literal["AgentRuntimeClusterConfig"]
    metadata: ObjectMeta
    spec: ClusterConfigSpec
    """Settings of the cluster layer, and its policy."""
    status: ConfigStatus | None = None
    """What is so."""


class AgentRuntimeConfig(Model):
    """The namespace layer: settings for the workloads of one namespace. Named default."""

    MARKS: ClassVar[KindMarks] = KindMarks(
        plural="agentruntimeconfigs",
        singular="agentruntimeconfig",
        scope="Namespaced",
        short_names=("artc",),
        columns=_COLUMNS,
        rules=(ONE_NAME,),
    )

    api_version: Literal["kagenti.io/v1alpha1"]
    kind: Literal["AgentRuntimeConfig"]
    metadata: ObjectMeta
    spec: NamespaceConfigSpec
    """Settings of the namespace layer, and its policy."""
    status: ConfigStatus | None = None
    """What is so."""

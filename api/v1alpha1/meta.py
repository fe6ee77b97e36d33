"""What every kind shares: metadata as far as we read it, references, selectors, conditions."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from .model import Cel, Model
from .scalars import ApiVersion, Count, DnsName, KindName, LabelKey, LabelValue, Text


@dataclass(frozen=True, slots=True)
class Column:
    """One printer column of kubectl get."""

    name: str
    type: str
    path: str
    priority: int = 0


@dataclass(frozen=True, slots=True)
class KindMarks:
    """What a CRD needs to know of a kind besides its fields."""

    plural: str
    singular: str
    scope: Literal["Namespaced", "Cluster"]
    short_names: tuple[str, ...]
    columns: tuple[Column, ...]
    selectable: tuple[str, ...] = ()
    rules: tuple[Cel, ...] = ()


class ObjectMeta(Model):
    """Metadata of an object, as far as we read it; the API server checks the rest."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class TargetRef(Model):
    """The workload that an AgentRuntime is about: the top of its owner chain, in the same namespace."""

    api_version: ApiVersion
    """API version of the target, for example apps/v1; the version part is not compared."""
    kind: KindName
    """Kind of the target, for example Deployment."""
    name: DnsName
    """Name of the target."""


class Requirement(Model):
    """One expression of a label selector."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            "operators In and NotIn need values, Exists and DoesNotExist forbid them",
        ),
    )

    key: LabelKey
    """Label key."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist"]
    """How the label's value relates to values."""
    values: Annotated[list[LabelValue], Field(max_length=64)] | None = None
    """Values for In and NotIn."""


class LabelSelector(Model):
    """A selector over labels; all requirements must hold, an empty one selects everything."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.matchLabels) || self.matchLabels.all(key, size(key) > 0 && size(key) <= 317)",
            "keys of matchLabels have 1 to 317 characters",
            ".matchLabels",
        ),
    )

    match_labels: Annotated[dict[str, LabelValue], Field(max_length=64)] | None = None
    """Labels that must have exactly these values."""
    match_expressions: Annotated[list[Requirement], Field(max_length=64)] | None = None
    """Further requirements."""


class Condition(Model):
    """A condition in the shape of metav1.Condition."""

    LIST_MAP_KEYS: ClassVar[tuple[str, ...]] = ("type",)

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """Type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: Count | None = None
    """Generation that the condition speaks of."""
    last_transition_time: Annotated[str, Field(max_length=64)]
    """When the status last changed, RFC 3339."""
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    """Reason code in CamelCase."""
    message: Annotated[str, Field(max_length=32768)]
    """One sentence for people."""


class Propagation(Model):
    """What one xDS replica knows of the proxies; each replica owns its entry."""

    LIST_MAP_KEYS: ClassVar[tuple[str, ...]] = ("replica",)

    replica: Text
    """Name of the replica."""
    acked: Count | None = None
    """Proxies that accepted the revision."""
    rejected: Count | None = None
    """Proxies that refused it and keep the last good one."""
    pending: Count | None = None
    """Proxies that have not answered yet."""
    disconnected: Count | None = None
    """Proxies without a stream."""
    revision: Annotated[str, Field(max_length=64)] | None = None
    """Live revision that the counts are about."""
    last_error: Annotated[str, Field(max_length=1024)] | None = None
    """Last refusal, one cleaned line."""


Conditions = Annotated[list[Condition], Field(max_length=16)]
Propagations = Annotated[list[Propagation], Field(max_length=16)]

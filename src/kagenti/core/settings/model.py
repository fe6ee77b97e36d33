"""The values of the merge: a layer, where a value comes from, a finding, and the resolved settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

JSON = Any  # a setting's value: the leaf types of the layered block are checked by its models

LayerName = Literal["built-in", "cluster", "namespace", "workload"]
LAYER_ORDER: tuple[LayerName, ...] = ("built-in", "cluster", "namespace", "workload")


@dataclass(frozen=True, slots=True)
class Source:
    """The object behind a layer, for people: ``AgentRuntimeConfig team1/default``."""

    layer: LayerName
    kind: str = ""
    namespace: str = ""
    name: str = ""
    resource_version: str = ""

    def __str__(self) -> str:
        if self.layer == "built-in":
            return "built-in"
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


def under(path: str, subtree: str) -> bool:
    """Whether a path is a subtree's root or lies below it."""
    return path == subtree or path.startswith(subtree + ".")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where one value of the result comes from; ``derived_from`` is set for values computed after the merge."""

    source: Source
    path: str
    derived_from: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or note about settings or an object: a reason code, a sentence for people, a field, the objects."""

    reason: str
    message: str
    path: str = ""
    objects: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Exemption:
    """Who is exempt from Mandatory: a top owner (group, kind, name) or a service account; empty means any."""

    group: str = ""
    kind: str = ""
    name: str = ""
    service_account: str = ""


@dataclass(frozen=True, slots=True)
class NamespaceRule:
    """One entry of the cluster's ``policy.namespaces``: which namespaces, whether Mandatory, and who is exempt."""

    names: frozenset[str] = frozenset()
    selector: JSON = None
    mandatory: bool = False
    exempt: tuple[Exemption, ...] = ()


@dataclass(frozen=True, slots=True)
class Layer:
    """One readable layer: its source, its set leaves by path, and what it rules for the layers below."""

    source: Source
    values: Mapping[str, JSON]
    locked: tuple[str, ...] = ()
    delegated: tuple[str, ...] = ()
    identity_providers: tuple[str, ...] = ()
    created: str = ""
    mandatory: bool = False
    namespaces: tuple[NamespaceRule, ...] = ()


@dataclass(frozen=True, slots=True)
class ResolvedSettings:
    """The merged settings of one workload: every leaf by path, with origin, findings and revisions.

    ``errors`` is not empty when the result is inconsistent: such settings must not be used to inject
    (reason ConfigInvalid). ``findings`` are values that a lock or missing authority made ineffective, and notes.
    ``pinned`` are derived values that a lock made fast: they do not move with what a lower layer, or a pod, says.
    ``restart_json`` is the restart part as canonical JSON, made once for every receipt that carries it.
    """

    values: Mapping[str, JSON]
    origins: Mapping[str, Origin]
    findings: tuple[Finding, ...] = ()
    errors: tuple[Finding, ...] = ()
    live_revision: str = ""
    restart_revision: str = ""
    layers: tuple[Source, ...] = field(default=())
    restart_json: bytes = b""
    pinned: frozenset[str] = frozenset()

    def __getitem__(self, path: str) -> JSON:
        """Returns the value at that path; raises KeyError for a path that has no value."""
        return self.values[path]

    def get(self, path: str) -> JSON:
        """Returns the value at that path, or None where no layer gives one."""
        return self.values.get(path)

    def flag(self, path: str) -> bool:
        """Returns a boolean setting."""
        return bool(self.values[path])

    def text(self, path: str) -> str:
        """Returns a text setting; empty where no layer gives one."""
        return str(self.values.get(path, ""))

    def number(self, path: str) -> int:
        """Returns an integer setting; raises KeyError where no layer gives one."""
        return int(self.values[path])

    def items(self, path: str) -> tuple[JSON, ...]:
        """Returns a list setting; empty where no layer gives one."""
        return tuple(self.values.get(path) or ())


@dataclass(slots=True)
class Merged:
    """The merge as it grows: leaves, where they come from, what had no effect, and what of each layer had one.

    ``pinned`` are derived values that a lock made fast before the layers below it were merged.
    """

    values: dict[str, JSON] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    effective: dict[Source, Mapping[str, JSON]] = field(default_factory=dict)
    pinned: set[str] = field(default_factory=set)

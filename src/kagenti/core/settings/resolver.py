"""resolve: layers in, resolved settings out; and a memo of it, so that the hot path is a dictionary lookup."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from kagenti.core.settings import consistency, federated, identity_provider, revision
from kagenti.core.settings.derive import derive
from kagenti.core.settings.layer import BUILT_IN_LAYER
from kagenti.core.settings.merge import in_order, merge
from kagenti.core.settings.model import Layer, ResolvedSettings
from kagenti.core.settings.policy import OPTIONAL, NamespacePolicy

# About 20 KiB each; a workload that is not remembered costs one merge, a fraction of a millisecond.
_ROOM: Final = 2048


def resolve(
    cluster: Layer | None,
    namespace: Layer | None,
    runtime: Layer | None,
    *,
    policy: NamespacePolicy | None = None,
    cluster_domain: str = "cluster.local",
    namespaces: Container[str] = (),
) -> ResolvedSettings:
    """Merges the layers that exist over the built-in one; a pure function of its inputs.

    The result's ``errors`` are contradictions that forbid its use; ``findings`` are values without effect.
    ``namespaces`` are the names of known namespaces, by which ``name.namespace`` counts as inside the cluster.
    """
    layers = in_order(cluster, namespace, runtime)
    merged = merge(layers, policy=policy or OPTIONAL)
    derive(merged)
    errors = [*identity_provider.findings(merged, layers)]
    errors += consistency.faults(merged, layers, cluster_domain=cluster_domain, namespaces=namespaces)
    # A copy: orjson answers in a buffer of 32 KiB, and this is kept for as long as the result.
    restart_json = bytes(memoryview(revision.canonical(revision.part(merged.values, "restart", "both"))))
    return ResolvedSettings(
        values=MappingProxyType(merged.values),
        origins=MappingProxyType(merged.origins),
        findings=(*merged.findings, *federated.notes(merged)),
        errors=tuple(errors),
        live_revision=revision.digest(revision.part(merged.values, "live", "both")),
        restart_revision=revision.hashed(restart_json),
        restart_json=restart_json,
        pinned=frozenset(merged.pinned),
        layers=(BUILT_IN_LAYER.source, *(layer.source for layer in layers)),
    )


class KnownNamespaces:
    """The namespaces of a cluster as a container that remembers what it was asked."""

    def __init__(self, exists: Callable[[str], bool]) -> None:
        self._exists = exists
        self.answers: dict[str, bool] = {}

    def __contains__(self, name: object) -> bool:
        return self.answers.setdefault(str(name), self._exists(str(name)))


_Name = tuple[str, str] | None
_Key = tuple[_Name, _Name, _Name, bool]


@dataclass(frozen=True, slots=True)
class _Known:
    """One remembered result, the very layers that it was made of, and what it assumes of namespaces."""

    layers: tuple[Layer | None, ...]
    policy: NamespacePolicy | None
    namespaces: Mapping[str, bool]
    settings: ResolvedSettings


class Resolver:
    """Remembers one result for each set of layers, whatever their versions; the one unused for longest goes first.

    A new version of a layer takes the place of the old one: nobody can fill the memory by editing one object.
    """

    def __init__(
        self,
        *,
        cluster_domain: str = "cluster.local",
        is_namespace: Callable[[str], bool] = lambda _: False,
        room: int = _ROOM,
    ) -> None:
        self._cluster_domain, self._is_namespace, self._room = cluster_domain, is_namespace, room
        self._known: dict[_Key, _Known] = {}

    def resolve(
        self,
        cluster: Layer | None,
        namespace: Layer | None,
        runtime: Layer | None,
        *,
        policy: NamespacePolicy | None = None,
    ) -> ResolvedSettings:
        """Returns what ``resolve`` returns for these layers and the namespaces that exist now."""
        layers = (cluster, namespace, runtime)
        key = (_name(cluster), _name(namespace), _name(runtime), policy is not None and policy.mandatory)
        found = self._known.pop(key, None)
        if found is not None and found.policy == policy and self._holds(found, layers):
            self._known[key] = found
            return found.settings
        asked = KnownNamespaces(self._is_namespace)
        settings = resolve(*layers, policy=policy, cluster_domain=self._cluster_domain, namespaces=asked)
        if len(self._known) >= self._room:
            self._known.pop(next(iter(self._known)))
        self._known[key] = _Known(layers, policy, asked.answers, settings)
        return settings

    def _holds(self, found: _Known, layers: tuple[Layer | None, ...]) -> bool:
        """Whether a result is about the very same layers (files have no versions) and namespaces that still are so."""
        same = all(a is b for a, b in zip(found.layers, layers, strict=True))
        return same and all(self._is_namespace(name) is exists for name, exists in found.namespaces.items())


def _name(layer: Layer | None) -> _Name:
    return (layer.source.namespace, layer.source.name) if layer is not None else None

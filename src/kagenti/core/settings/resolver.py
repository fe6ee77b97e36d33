"""resolve: layers in, resolved settings out; and a memo of it, so that the hot path is a dictionary lookup."""

from collections.abc import Container
from types import MappingProxyType
from typing import Final

from kagenti.core.settings import consistency, identity_provider, revision
from kagenti.core.settings.derive import derive
from kagenti.core.settings.layer import BUILT_IN_LAYER
from kagenti.core.settings.merge import in_order, merge
from kagenti.core.settings.model import Layer, ResolvedSettings, Source
from kagenti.core.settings.policy import OPTIONAL, NamespacePolicy

_ROOM: Final = 8192


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
    restart_json = revision.canonical(revision.part(merged.values, "restart", "both"))
    return ResolvedSettings(
        values=MappingProxyType(merged.values),
        origins=MappingProxyType(merged.origins),
        findings=tuple(merged.findings),
        errors=tuple(errors),
        live_revision=revision.digest(revision.part(merged.values, "live", "both")),
        restart_revision=revision.hashed(restart_json),
        restart_json=restart_json,
        layers=(BUILT_IN_LAYER.source, *(layer.source for layer in layers)),
    )


_Key = tuple[Source | None, Source | None, Source | None, NamespacePolicy | None]


class Resolver:
    """Remembers results by the versions of the layers; the one unused for longest goes first."""

    def __init__(self, *, cluster_domain: str = "cluster.local", room: int = _ROOM) -> None:
        self._cluster_domain, self._room = cluster_domain, room
        self._known: dict[_Key, tuple[tuple[Layer | None, ...], ResolvedSettings]] = {}

    def resolve(
        self,
        cluster: Layer | None,
        namespace: Layer | None,
        runtime: Layer | None,
        *,
        policy: NamespacePolicy | None = None,
    ) -> ResolvedSettings:
        """Returns what ``resolve`` returns for these layers."""
        layers = (cluster, namespace, runtime)
        key = (_source(cluster), _source(namespace), _source(runtime), policy)
        found = self._known.get(key)
        # The very same layer objects: files and tests have no resource versions to tell two contents apart.
        if found is not None and all(a is b for a, b in zip(found[0], layers, strict=True)):
            return found[1]
        settings = resolve(*layers, policy=policy, cluster_domain=self._cluster_domain)
        if len(self._known) >= self._room:
            self._known.pop(next(iter(self._known)))
        self._known[key] = (layers, settings)
        return settings


def _source(layer: Layer | None) -> Source | None:
    return layer.source if layer is not None else None

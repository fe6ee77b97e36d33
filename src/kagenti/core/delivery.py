"""What a running pod's proxy is to have now, or why it keeps what it has.

The restart part comes from the pod's receipt, the live part from today's layers (spec 05). Whatever cannot be read or
contradicts itself changes nothing at a running proxy: the answer is then ``Kept``, with the objects to mend.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

from kagenti.core import envoy, receipts, settings
from kagenti.core.envoy import Proxy
from kagenti.core.inject.refusal import LAYOUT_UNSUPPORTED
from kagenti.core.installation import Installation
from kagenti.core.layers import Sources
from kagenti.core.receipts import Receipt
from kagenti.core.settings.model import Finding, ResolvedSettings
from kagenti.core.settings.pod import for_pod
from kagenti.core.workload import WorkloadRef

LAYOUTS: Final = range(max(1, envoy.LAYOUT - 2), envoy.LAYOUT + 1)
"""The static layouts whose resources this version can build: the last three (spec 05)."""

_CREDENTIALS: Final = "identity.clientRegistration.credentialsSecret"
_JWKS_URL: Final = "identity.inbound.validation.jwksUrl"


@dataclass(frozen=True, slots=True)
class Pod:
    """What of a pod decides: its top owner, its service account, what it was built from."""

    owner: WorkloadRef
    service_account: str
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Served:
    """What the proxy is to have, but for its keys.

    ``jwks_url`` is where they come from; empty when callers need no token. ``revision`` is the live revision of
    today's settings, short.
    """

    proxy: Proxy
    jwks_url: str
    revision: str

    def with_keys(self, keys: str | None) -> Proxy:
        """Returns what its resources are made from; without keys ``jwt`` is withheld."""
        return replace(self.proxy, keys=keys) if self.jwks_url else self.proxy


@dataclass(frozen=True, slots=True)
class Kept:
    """The proxy keeps what it has: a reason code and a sentence that names what to mend; ``revision`` as in Served."""

    reason: str
    message: str
    revision: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What is the same for every decision of one process."""

    installation: Installation
    resolver: settings.Resolver


def decide(
    pod: Pod,
    *,
    sources: Sources,
    context: Context,
    namespace_labels: Mapping[str, str],
    namespaces: Collection[str],
) -> Served | Kept:
    """Returns what one pod's proxy is to have now.

    Args:
        pod: The pod.
        sources: The layers in force (``layers.LayerCache.gather``).
        context: What is the same for every decision.
        namespace_labels: Labels of the pod's namespace: policies select by them.
        namespaces: Names of the known namespaces; asked only where the result depends on them.
    """
    if sources.unreadable:
        return _kept(sources.unreadable[0])
    today = _today(pod, sources, context, namespace_labels)
    revision = settings.short(today.live_revision)
    if today.errors:
        return _kept(today.errors[0], revision)
    if pod.receipt.layout not in LAYOUTS:
        return Kept(LAYOUT_UNSUPPORTED, _old_layout(pod.receipt.layout), revision)
    own = for_pod(today, pod.receipt.restart)
    providers = sources.cluster.identity_providers if sources.cluster else ()
    if refused := receipts.refused_urls(own, today, providers=providers):
        return _kept(refused[0], revision)
    proxy = _proxy(pod, own, context.installation, namespaces)
    return Served(proxy, own.text(_JWKS_URL) if envoy.withheld(proxy) else "", revision)


def _today(pod: Pod, sources: Sources, context: Context, namespace_labels: Mapping[str, str]) -> ResolvedSettings:
    """Returns what the next pod would get: as at admission, an exempt one is bound by no Mandatory policy (spec 03)."""
    policy = settings.namespace_policy(
        sources.cluster, sources.namespace, name=pod.owner.namespace, labels=namespace_labels
    )
    if policy.mandatory and policy.is_exempt(pod.owner, pod.service_account):
        policy = settings.OPTIONAL
    return context.resolver.resolve(sources.cluster, sources.namespace, sources.runtime, policy=policy)


def _proxy(pod: Pod, own: ResolvedSettings, installation: Installation, namespaces: Collection[str]) -> Proxy:
    return Proxy(
        settings=own,
        values=settings.values_for(own, owner=pod.owner, service_account=pod.service_account),
        installation=installation,
        port_mapping=pod.receipt.port_mapping,
        bypasses=pod.receipt.bypasses,
        credentials_secret=bool(own.get(_CREDENTIALS)),
        namespaces=namespaces,
        layout=pod.receipt.layout,
    )


def _kept(finding: Finding, revision: str = "") -> Kept:
    return Kept(finding.reason, finding.message, revision)


def _old_layout(layout: int) -> str:
    if layout > envoy.LAYOUT:
        return f"the pod has static layout {layout}, newer than this server's {envoy.LAYOUT}; upgrade kagenti-xds"
    return (
        f"the pod has static layout {layout}, which is served no longer (from {LAYOUTS.start} on); create the pod anew"
    )

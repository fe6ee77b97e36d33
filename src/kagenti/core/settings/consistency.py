"""Whole-result validation: rules across fields, after the merge. A result that breaks one is never used (ConfigInvalid)."""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from kagenti.core.settings import resources
from kagenti.core.settings.derive import TEMPLATE, VALIDATION
from kagenti.core.settings.identity_provider import CONFIG_INVALID
from kagenti.core.settings.merge import RULES, rule_path
from kagenti.core.settings.model import JSON, Finding, Layer, Merged, Source, under
from kagenti_api.v1alpha1 import wellknown
from kagenti_api.v1alpha1.built_in import ENVOY_IMAGES

_INTERCEPTION: Final = "identity.outbound.trafficInterception"
_POLICY: Final = "identity.outbound.defaultPolicy"
_EXCHANGE: Final = "identity.outbound.tokenExchange"
_OURS: Final = (f"{_INTERCEPTION}.proxyPort", f"{_INTERCEPTION}.inboundProxyPort")
_UID: Final = f"{_INTERCEPTION}.proxyUid"
_EXCHANGER: Final = "injection.tokenExchange"
_ENVOY: Final = "components.envoyProxy.enabled"
_REDIRECTOR: Final = "components.proxyInit.enabled"
_INBOUND: Final = "identity.inbound"
_BYPASS: Final = f"{VALIDATION}.bypassPaths"
_PROMETHEUS: Final = "trace.integration.prometheus"
_APPS: Final = ("identity.inbound.port", "identity.inbound.targetPort", f"{_PROMETHEUS}.port")


def faults(
    merged: Merged, layers: Sequence[Layer], *, cluster_domain: str, namespaces: Container[str]
) -> Iterator[Finding]:
    """Yields every contradiction of the merged result, naming the layers to mend."""
    yield from _ports(merged)
    yield from _proxy_user(merged)
    yield from _processor(merged)
    yield from _audience(merged)
    yield from _exchange(merged)
    yield from _image(merged)
    yield from _scrape_path(merged, layers)
    yield from resources.faults(merged)
    for rule in merged.values.get(RULES) or ():
        yield from _rule(merged, rule, layers, cluster_domain=cluster_domain, namespaces=namespaces)


def _fault(merged: Merged, message: str, *paths: str) -> Finding:
    sources = {merged.origins[path].source for path in paths if path in merged.origins}
    objects = tuple(sorted(str(source) for source in sources if source.layer != "built-in")) or ("built-in",)
    return Finding(CONFIG_INVALID, f"{message}; mend {' or '.join(objects)}", paths[0], objects)


def _ports(merged: Merged) -> Iterator[Finding]:
    taken: dict[int, str] = {wellknown.STATUS_PORT: "Envoy's status port"}
    if _bridged(merged):
        taken[wellknown.PROCESSOR_PORT] = _EXCHANGER
    for path in _OURS:
        port = merged.values[path]
        if port in taken:
            yield _taken(merged, path, taken[port])
        taken[port] = path
    for path in _APPS:
        port = merged.values[path]
        if path.startswith("trace.") and not merged.values[f"{_PROMETHEUS}.enabled"]:
            continue
        if port in taken:
            yield _taken(merged, path, taken[port])


def _taken(merged: Merged, path: str, other: str) -> Finding:
    whose = f"the port of the processor that {_EXCHANGER} 'AuthBridge' starts" if other == _EXCHANGER else other
    return _fault(merged, f"{path} is {merged.values[path]}, which is also {whose}", path, other)


def _proxy_user(merged: Merged) -> Iterator[Finding]:
    """Envoy's user is exempt from interception whatever its group, the helpers' only together with theirs."""
    if merged.values[_ENVOY] and merged.values[_UID] == wellknown.HELPER_USER:
        whose = (
            "the user of spiffe-helper and client-registration: choose one that is Envoy's alone, the default is 1337"
        )
        yield _fault(merged, f"{_UID} is {wellknown.HELPER_USER}, {whose}", _UID)


def _processor(merged: Merged) -> Iterator[Finding]:
    """The AuthBridge image's processor exchanges tokens for whoever reaches its port, so nothing may open it (spec 05)."""
    values, excluded, port = merged.values, f"{_INBOUND}.excludePorts", wellknown.PROCESSOR_PORT
    if not (_bridged(merged) and values["identity.enabled"]):
        return
    why = (
        f"with {_EXCHANGER} 'AuthBridge' that opens port {port}, where its processor exchanges tokens for whoever asks"
    )
    if port in values[excluded]:
        yield _fault(merged, f"{excluded} lists {port}: {why}", excluded, _EXCHANGER)
    for path in (f"{_INBOUND}.enabled", _REDIRECTOR):
        if not values[path]:
            yield _fault(merged, f"{path} is false: {why}", path, _EXCHANGER)


def _bridged(merged: Merged) -> bool:
    return merged.values[_EXCHANGER] == "AuthBridge" and bool(merged.values[_ENVOY])


def _audience(merged: Merged) -> Iterator[Finding]:
    """``self`` must be known at admission (spec 01)."""
    path = f"{VALIDATION}.audience"
    values = merged.values
    if values.get(path) != "self" or not values["identity.enabled"] or not values["identity.inbound.enabled"]:
        return
    if values.get("identity.clientRegistration.credentialsSecret"):
        why = "with credentialsSecret the client id is not known here"
        yield _fault(
            merged,
            f"{path} is 'self', but {why}: set an audience",
            path,
            "identity.clientRegistration.credentialsSecret",
        )
    elif not values["identity.spiffe.enabled"] and "{{.PodName}}" in values[TEMPLATE]:
        why = "with one client per pod and SPIFFE off the client id is not known at admission"
        yield _fault(merged, f"{path} is 'self', but {why}: set an audience", path, TEMPLATE)


def _exchange(merged: Merged) -> Iterator[Finding]:
    values = merged.values
    if values[_POLICY] == "Exchange":
        if not values[f"{_EXCHANGE}.enabled"]:
            yield _fault(merged, f"{_POLICY} is 'Exchange', but token exchange is off", _POLICY, f"{_EXCHANGE}.enabled")
        if not values.get(f"{_EXCHANGE}.defaultTarget.audience"):
            path = f"{_EXCHANGE}.defaultTarget.audience"
            yield _fault(merged, f"{_POLICY} is 'Exchange', but {path} is not set", _POLICY, path)
    if values.get(f"{VALIDATION}.requiredScopes") and not values.get(f"{VALIDATION}.issuer"):
        yield _fault(merged, f"{VALIDATION}.requiredScopes need an issuer", f"{VALIDATION}.requiredScopes")


def _image(merged: Merged) -> Iterator[Finding]:
    """A lock may pin the default image of one exchanger where a layer below chooses the other."""
    path, exchange = "components.envoyProxy.image", _EXCHANGER
    wanted = ENVOY_IMAGES[merged.values[exchange]]
    if path in merged.pinned and merged.origins[path].derived_from and not _is_image(merged.values[path], wanted):
        why = f"a lock pins it to the image of the other one: unlock it, or give an image beside {exchange}"
        message = f"{path} is {merged.values[path]!r}, but {exchange} is {merged.values[exchange]!r}: {why}"
        yield _fault(merged, message, path, exchange)


def _is_image(image: str, default: str) -> bool:
    """Whether an image is that default one, in its own registry or in a mirror."""
    return image.endswith("/" + default.partition("/")[2])


def _rule(
    merged: Merged,
    rule: Mapping[str, JSON],
    layers: Sequence[Layer],
    *,
    cluster_domain: str,
    namespaces: Container[str],
) -> Iterator[Finding]:
    path, action = rule_path(rule), rule.get("action") or "Exchange"
    if action == "Exchange" and not (rule.get("target") or {}).get("audience"):
        yield _fault(merged, f"{path} exchanges tokens, but has no target.audience", path)
    if action == "Exchange" and not merged.values[f"{_EXCHANGE}.enabled"]:
        yield _fault(merged, f"{path} exchanges tokens, but token exchange is off", path, f"{_EXCHANGE}.enabled")
    if action == "Passthrough":
        locked = _locked_above(_POLICY, merged.origins[path].source, layers)
        if locked is not None:
            message = f"{path} has action 'Passthrough', but {locked} locks {_POLICY}"
            yield _fault(merged, message, path)
    off = (rule.get("upstream") or {}).get("tls") == "Off"
    host = rule["match"]["host"]
    if off and action == "Exchange" and not inside(host, cluster_domain=cluster_domain, namespaces=namespaces):
        yield _fault(merged, f"{path} has upstream.tls 'Off': a token would travel in clear outside the cluster", path)


def _scrape_path(merged: Merged, layers: Sequence[Layer]) -> Iterator[Finding]:
    """The scrape path bypasses validation, so a layer that may not list it in bypassPaths may not open it here."""
    path = f"{_PROMETHEUS}.path"
    if not merged.values[f"{_PROMETHEUS}.enabled"]:
        return
    if any(covers_path(pattern, merged.values[path]) for pattern in merged.values[_BYPASS]):
        return
    for place in (path, f"{_PROMETHEUS}.port", f"{_PROMETHEUS}.enabled"):
        locked = _locked_above(_BYPASS, merged.origins[place].source, layers)
        if locked is not None:
            message = f"{path} is {merged.values[path]!r}, which the locked {_BYPASS} of {locked} does not list"
            fault = _fault(merged, f"{message}: use a listed path, or leave prometheus to {locked}", place)
            yield replace(fault, path=path)
            return


def _locked_above(path: str, source: Source, layers: Sequence[Layer]) -> Source | None:
    """Returns the layer above a source that locks a path; nothing is above the built-in layer."""
    if source.layer == "built-in":
        return None
    for layer in layers:
        if layer.source == source:
            return None
        if any(under(path, subtree) for subtree in layer.locked):
            return layer.source
    return None


def covers_path(pattern: str, path: str) -> bool:
    """Whether a bypass pattern covers a path: it is that path, or ends in ``/*`` for one plain segment."""
    if not pattern.endswith("/*"):
        return path == pattern
    head, _, last = path.rpartition("/")
    return head == pattern.removesuffix("/*") and bool(last)


def inside(host: str, *, cluster_domain: str, namespaces: Container[str]) -> bool:
    """Whether a host is inside the cluster: a single label, ``name.namespace``, ``*.svc`` or ``*.svc.<domain>``.

    A wildcard over one label or two covers other people's domains: only an exact host may be as short as that.
    """
    labels = host.split(".")
    if labels[0] != "*" and (len(labels) == 1 or (len(labels) == 2 and labels[1] in namespaces)):  # name.namespace
        return True
    return host.endswith((".svc", f".svc.{cluster_domain}"))

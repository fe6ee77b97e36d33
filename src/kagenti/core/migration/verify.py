"""Old effective configuration against what kagenti makes of the same pod, field by field; what differs is explained, or is a fault.

The new side is read off the sidecars that were built and the destinations that Envoy gets, not off the settings that went in.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.envoy import destinations as ways
from kagenti.core.envoy.destinations import Destinations, generalised
from kagenti.core.inject.refusal import RESERVED_NAME
from kagenti.core.migration import reasons, routes
from kagenti.core.migration.chain import OldPod
from kagenti.core.migration.eras import Era
from kagenti.core.migration.keys import INTERCEPTION, KEYCLOAK, REGISTRATION, VALIDATION
from kagenti.core.migration.mapping import Migration
from kagenti.core.migration.model import CONTAINERS, Effective, effective
from kagenti.core.migration.routes import Decision
from kagenti.core.settings import inside, values_for
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import Sidecars

JSON = Any  # a value of a field

_ENVIRONMENT: Final = {
    f"{KEYCLOAK}.url": "KEYCLOAK_URL",
    f"{KEYCLOAK}.realm": "KEYCLOAK_REALM",
    f"{REGISTRATION}.authType": "CLIENT_AUTH_TYPE",
    f"{REGISTRATION}.idpAlias": "SPIFFE_IDP_ALIAS",
    "clientName": "CLIENT_NAME",
}
_IMAGE_DEFAULTS: Final = {f"{KEYCLOAK}.platformClientIds": ["kagenti"], f"{REGISTRATION}.idpAlias": "spire-spiffe"}
"""What the registration image takes where a variable is missing (reference 1.3)."""
OUTBOUND: Final = "outbound"


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that is not as it was: ``reason`` is a code of ``reasons``; Unexplained where the tool knows none."""

    field: str
    old: JSON
    new: JSON
    reason: str

    @property
    def explained(self) -> bool:
        """Whether the tool knows why."""
        return self.reason != reasons.UNEXPLAINED


@dataclass(frozen=True, slots=True)
class Verified:
    """What verification says of one workload: how many fields are equal, and those that are not."""

    workload: str
    equal: int
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether every difference is explained."""
        return all(found.explained for found in self.differences)

    @property
    def loses_sidecars(self) -> bool:
        """Whether the old webhook injected it and kagenti would not: a restart would leave it bare."""
        return any(found.field == "injected" and found.old is True for found in self.differences)


def verify(
    migration: Migration,
    pod: OldPod,
    evaluation: Evaluation,
    *,
    cluster_domain: str,
    namespaces: Collection[str],
    triggered: Evaluation | None = None,
) -> Verified:
    """Returns how a pod's configuration compares before and after.

    ``triggered`` is what kagenti would make of the pod with its trigger and without old sidecars: where it is not injected as it
    stands, the rest is compared with that.
    """
    before = effective(migration.old, pod)
    if not before.values["injected"] and evaluation.decision.trigger == "AgentRuntime":
        before = effective(
            migration.old, _labelled(migration.old.era, pod)
        )  # the AgentRuntime stands for the label that went
    lost = migration.lost.get(pod.owner.namespace) or migration.lost.get("") or {}
    found = list(_injected(before, evaluation))
    compared = 1
    shown = evaluation if evaluation.sidecars is not None or triggered is None else triggered
    if before.values["injected"] and shown.sidecars is not None and shown.settings is not None:
        after = {**observed(shown, pod), "injected": before.values["injected"]}
        hosts = list(_outbound(before, shown, lost, cluster_domain=cluster_domain, namespaces=namespaces))
        found += [*_fields(before, after, lost), *(difference for difference in hosts if difference is not None)]
        compared = len(before.values) + len(hosts)
    return Verified(str(pod.owner), compared - len(found), tuple(found))


def _labelled(era: Era, pod: OldPod) -> OldPod:
    """Returns the pod with the label that triggered it before an AgentRuntime did; an opt-out stays one."""
    return dataclasses.replace(pod, labels={era.label("inject"): "enabled", **pod.labels})


_UNTRIGGERED: Final = ("NoTrigger", "NotEnrolled", "LabelMissing", "LabelIgnored", "OptOut")


def _injected(before: Effective, evaluation: Evaluation) -> Iterator[Difference]:
    """Yields the difference in whether the pod is injected at all, with what kagenti says about it."""
    decision = evaluation.decision
    now = decision.injects and decision.called
    if before.values["injected"] == now:
        return
    if now:
        yield Difference("injected", False, True, reasons.NEWLY_TRIGGERED)  # noqa: FBT003  # old and new
        return
    note = before.notes.get("injected")
    reason = reasons.NOT_TRIGGERED if decision.reason in _UNTRIGGERED else reasons.REFUSED
    reason = reasons.OLD_SIDECARS if decision.reason == RESERVED_NAME else reason
    reason = note.reason if note is not None and decision.reason == "InjectionDisabled" else reason
    yield Difference("injected", True, f"{decision.reason}: {decision.message}", reason)  # noqa: FBT003  # old and new


def observed(evaluation: Evaluation, pod: OldPod) -> dict[str, JSON]:
    """Returns the fields of a pod as kagenti would make it; ``injected`` alone where it would not inject."""
    sidecars, resolved = evaluation.sidecars, evaluation.settings
    if sidecars is None or resolved is None:
        return {"injected": False}
    built = {container["name"]: container for container in sidecars.init_containers}
    found: dict[str, JSON] = {"injected": True, "containers": sorted(built)}
    found |= of_containers(sidecars.init_containers)
    values = values_for(resolved, owner=pod.owner, service_account=pod.service_account)
    found |= {"identity.spiffe.enabled": resolved.flag("identity.spiffe.enabled"), "clientId": values.client_id}
    found["identity.spiffe.jwtAudience"] = resolved.text("identity.spiffe.jwtAudience")
    found["clientName"] = values.client_name
    found |= _registration(built.get(CONTAINERS["clientRegistration"]), resolved)
    found |= _proxy(sidecars, built, resolved, values.audience)
    return found


def of_containers(init_containers: Iterable[Mapping[str, JSON]]) -> dict[str, JSON]:
    """Returns the fields that stand in the containers of a pod, a live one's too: images, policies, resources, ports, env."""
    built = {container["name"]: container for container in init_containers}
    found: dict[str, JSON] = {}
    for component, name in CONTAINERS.items():
        if name in built:
            found |= dict(_container(component, built[name]))
    if CONTAINERS["clientRegistration"] in built:
        env = _literals(built[CONTAINERS["clientRegistration"]])
        found |= {path: _literal(env.get(name)) or _IMAGE_DEFAULTS.get(path) for path, name in _ENVIRONMENT.items()}
    if CONTAINERS["proxyInit"] in built:
        found |= _interception(_literals(built[CONTAINERS["proxyInit"]]))
    return found


def _literals(container: Mapping[str, JSON]) -> dict[str, str | None]:
    return {entry["name"]: entry.get("value") for entry in container.get("env") or ()}


def _interception(env: Mapping[str, str | None]) -> dict[str, JSON]:
    return {
        f"{INTERCEPTION}.proxyPort": int(env["PROXY_PORT"] or 0),
        f"{INTERCEPTION}.inboundProxyPort": int(env["INBOUND_PROXY_PORT"] or 0),
        f"{INTERCEPTION}.proxyUid": int(env["PROXY_UID"] or 0),
        f"{INTERCEPTION}.excludePorts": _ports(env.get("OUTBOUND_PORTS_EXCLUDE")),
        "identity.inbound.excludePorts": _ports(env.get("INBOUND_PORTS_EXCLUDE")),
    }


def _container(component: str, container: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    base = f"components.{component}"
    yield f"{base}.image", container["image"]
    yield f"{base}.imagePullPolicy", container["imagePullPolicy"]
    for kind, amounts in container["resources"].items():
        for name, amount in amounts.items():
            yield f"{base}.resources.{kind}.{name}", amount


def _registration(container: Mapping[str, JSON] | None, resolved: ResolvedSettings) -> dict[str, JSON]:
    """Returns what the registration container is told; without one, what the settings say."""
    found = {
        path: resolved.get(path) for path in (*_ENVIRONMENT, f"{KEYCLOAK}.platformClientIds") if path != "clientName"
    }
    found[f"{KEYCLOAK}.adminCredentialsSecret"] = resolved.get(f"{KEYCLOAK}.adminCredentialsSecret")
    if container is not None:
        env = _literals(container)
        found |= {path: _literal(env.get(name)) for path, name in _ENVIRONMENT.items()}
        clients = _literal(env.get("PLATFORM_CLIENT_IDS"))
        found[f"{KEYCLOAK}.platformClientIds"] = clients.split(",") if clients else None
    found[f"{KEYCLOAK}.url"] = str(found[f"{KEYCLOAK}.url"] or "").rstrip("/")
    return {path: value or _IMAGE_DEFAULTS.get(path, value) for path, value in found.items()}


def _literal(value: str | None) -> str | None:
    """Returns an env value with ``$$`` read as Kubernetes reads it."""
    return None if value is None else value.replace("$$", "$")


def _proxy(
    sidecars: Sidecars, built: Mapping[str, Mapping[str, JSON]], resolved: ResolvedSettings, audience: str
) -> dict[str, JSON]:
    init = built.get(CONTAINERS["proxyInit"])
    if init is None:
        return {"validates": False}
    return {
        "validates": sidecars.port_mapping is not None,
        f"{VALIDATION}.issuer": resolved.text(f"{VALIDATION}.issuer"),
        f"{VALIDATION}.jwksUrl": resolved.text(f"{VALIDATION}.jwksUrl"),
        f"{VALIDATION}.bypassPaths": list(resolved.items(f"{VALIDATION}.bypassPaths")),
        f"{VALIDATION}.audience": audience,
    }


def _ports(text: str | None) -> list[int]:
    return sorted(int(port) for port in (text or "").split(",") if port)


def _fields(before: Effective, after: Mapping[str, JSON], lost: Mapping[str, str]) -> Iterator[Difference]:
    for field, old in before.values.items():
        if after.get(field) != old:
            yield Difference(field, old, after.get(field), _explained(field, before, after, lost))


def _explained(field: str, before: Effective, after: Mapping[str, JSON], lost: Mapping[str, str]) -> str:
    """Returns the reason of a difference; a note that knows the new value explains that value alone."""
    note = before.notes.get(field)
    if note is not None and (not note.certain or note.expected == after.get(field)):
        return note.reason
    if field in lost:
        return lost[field]
    if field in _FOLLOWS and any(path in lost for path in _FOLLOWS[field]):
        return reasons.NOT_CARRIED
    return reasons.UNEXPLAINED


# Values that are derived from others: where those could not be carried, these follow.
_FOLLOWS: Final = {
    f"{VALIDATION}.issuer": (f"{KEYCLOAK}.url", f"{KEYCLOAK}.realm"),
    f"{VALIDATION}.jwksUrl": (f"{KEYCLOAK}.url", f"{KEYCLOAK}.realm", "identity.outbound.tokenExchange.tokenUrl"),
    f"{VALIDATION}.audience": ("identity.spiffe.trustDomain",),
    f"{KEYCLOAK}.url": ("identity.outbound.tokenExchange.tokenUrl",),
    f"{KEYCLOAK}.realm": ("identity.outbound.tokenExchange.tokenUrl",),
    f"{KEYCLOAK}.adminCredentialsSecret": (f"{KEYCLOAK}.url",),
    "clientId": ("identity.spiffe.trustDomain",),
    "identity.spiffe.jwtAudience": (f"{VALIDATION}.issuer", f"{KEYCLOAK}.url", f"{KEYCLOAK}.realm"),
}


def _outbound(
    before: Effective,
    shown: Evaluation,
    lost: Mapping[str, str],
    *,
    cluster_domain: str,
    namespaces: Collection[str],
) -> Iterator[Difference | None]:
    """Yields for each host that shows a decision the difference, or None where both decide alike; without a proxy all passes."""
    if shown.settings is None or shown.sidecars is None:
        return
    found = ways.destinations(shown.settings, cluster_domain=cluster_domain, namespaces=namespaces)
    globs = [route.host for route in before.outbound.routes]
    globs += [f"**.{rule.host[2:]}" if rule.host.startswith("*.") else rule.host for rule in found.rules]
    for host in dict.fromkeys(routes.sample_hosts(globs)):
        old, new = before.outbound.decide(host), decided(found, host) if shown.sidecars.proxied else routes.PASS
        if old != new:
            yield Difference(f"{OUTBOUND}[{host}]", old, new, _why(host, old, new, before, lost))
        elif old.action == "Exchange" and not inside(host, cluster_domain=cluster_domain, namespaces=namespaces):
            yield Difference(f"{OUTBOUND}[{host}] TLS", "plain", "TLS", reasons.TLS_ORIGINATED)
        else:
            yield None


def decided(found: Destinations, host: str) -> Decision:
    """Returns what Envoy does for a plain HTTP request to a host on port 80."""
    for pattern in generalised(host):
        for rule in found.rules:
            if rule.host == pattern and rule.port in (None, 80):
                return _decision(rule)
    if any(one.host in generalised(host) and one.port in (None, 80) for one in found.passes):
        return routes.PASS
    return _decision(found.default)


def _decision(one: ways.Destination) -> Decision:
    if one.action != "Exchange":
        return Decision(one.action)
    return Decision("Exchange", one.audience, one.scopes, one.token_url, one.on_missing_token)


def _why(host: str, old: Decision, new: Decision, before: Effective, lost: Mapping[str, str]) -> str:
    """Returns why two decisions for one host differ."""
    taken = next((route for route in before.outbound.routes if route.matches(host)), None)
    if taken is not None and routes_path(taken.host) in lost:
        return lost[routes_path(taken.host)]
    widened = [
        route
        for route in before.outbound.routes
        if route.host.startswith("*.")
        and routes.suffix_of(route.host) in set(generalised(host))
        and not route.matches(host)
    ]
    if widened:
        return reasons.GLOB_WIDENED
    if taken is None and old.action == new.action == "Exchange" and _same_but_missing_token(old, new):
        return reasons.DEFAULT_MISSING_TOKEN
    if any(path.startswith(("identity.outbound", KEYCLOAK)) for path in lost):
        return reasons.NOT_CARRIED
    return reasons.UNEXPLAINED


def _same_but_missing_token(old: Decision, new: Decision) -> bool:
    return (old.audience, old.scopes, old.token_url) == (new.audience, new.scopes, new.token_url)


def routes_path(glob: str) -> str:
    """Returns the path under which a route that could not be carried is noted."""
    return f"identity.outbound.tokenExchange.destinationRules[{glob}]"

"""Old effective configuration against what kagenti makes of the same pod, field by field; what differs is explained, or is a fault.

The new side is read off the sidecars that were built and the destinations that Envoy gets, not off the settings that went in.
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.envoy import destinations as ways
from kagenti.core.envoy.destinations import Destinations, generalised
from kagenti.core.inject.refusal import RESERVED_NAME
from kagenti.core.migration import reasons, routes
from kagenti.core.migration.chain import OldPod
from kagenti.core.migration.eras import Era
from kagenti.core.migration.facts import OUTBOUND
from kagenti.core.migration.keys import KEYCLOAK, VALIDATION
from kagenti.core.migration.mapping import Migration
from kagenti.core.migration.model import Effective, effective
from kagenti.core.migration.observed import observed
from kagenti.core.migration.routes import Decision
from kagenti.core.settings import inside

JSON = Any  # a value of a field


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
    note = before.notes.get(OUTBOUND)
    if note is not None and (note.reason != reasons.NO_EXCHANGE or (old, new.action) == (routes.PASS, "Exchange")):
        return note.reason
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

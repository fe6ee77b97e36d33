"""The old webhook as an executable model: for one pod of one installation, whether it was injected and with what.

Written from the description of its code (reference authbridge-contract sections 1, 2.3, 3.4, 6 and 8), in its own terms and without
a look at the mapping: that both say the same is what ``verify`` and the property tests prove. Fields are named by kagenti's setting
paths where they have one. A field with a note is one that a quirk of the old world decided, and that need not come out the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.migration import images, reasons, traffic
from kagenti.core.migration.chain import (
    OldPod,
    all_false,
    components,
    gates_in_force,
    selected,
    workload_name,
)
from kagenti.core.migration.facts import CONTAINERS, OUTBOUND, Facts, Found, Note
from kagenti.core.migration.installation import Old, OldNamespace
from kagenti.core.migration.routes import Outbound
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a value of an old file


def _amounts(cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> dict[str, str]:
    return {"requests.cpu": cpu, "requests.memory": memory, "limits.cpu": cpu_limit, "limits.memory": memory_limit}


RESOURCE_DEFAULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "proxyInit": _amounts("10m", "10Mi", "10m", "10Mi"),
    "spiffeHelper": _amounts("50m", "64Mi", "100m", "128Mi"),
    "clientRegistration": _amounts("50m", "64Mi", "100m", "128Mi"),
    "envoyProxy": _amounts("50m", "64Mi", "200m", "256Mi"),
}


@dataclass(frozen=True, slots=True)
class Effective:
    """The effective configuration of one pod: values by field, notes by field, and its outbound decisions."""

    values: Mapping[str, JSON]
    notes: Mapping[str, Note] = field(default_factory=dict)
    outbound: Outbound = field(default_factory=Outbound)


def effective(old: Old, pod: OldPod) -> Effective:
    """Returns the effective configuration of a pod under the old webhook."""
    if not selected(old, pod):
        note = Note(reasons.NEWLY_TRIGGERED)
        return Effective({"injected": False}, {"injected": note})
    parts = components(old, pod)
    if parts.nothing:
        return Effective({"injected": False}, {"injected": Note(reasons.NEWLY_TRIGGERED)})
    facts = Facts(old, pod, parts, old.namespaces.get(pod.owner.namespace) or OldNamespace(pod.owner.namespace))
    found = Found()
    for describe in _DESCRIPTIONS:
        describe(facts, found)
    outbound = traffic.outbound(facts)
    if parts.envoy and not facts.has_client:
        found.notes.setdefault(OUTBOUND, Note(reasons.NO_EXCHANGE))
    if all_false(old):
        found.notes["injected"] = Note(reasons.ALL_FALSE_GATES, expected=False, certain=True)
    return Effective(found.values, found.notes, outbound)


def _containers(facts: Facts, found: Found) -> None:
    on = sorted(CONTAINERS[component] for component in facts.running)
    found.values["containers"] = on
    era = facts.old.era
    if era.prefix != wellknown.PREFIX and facts.pod.labels.get(era.label("envoy-proxy-inject")) == "false":
        found.notes[OUTBOUND] = Note(reasons.OTHER_PREFIX)
    if facts.parts.combined:
        found.notes["containers"] = Note(reasons.COMBINED_SIDECAR)
    elif facts.old.era.registration != "optsOut" and not facts.parts.registers:
        found.notes["containers"] = _registration_note(facts, on)


def _registration_note(facts: Facts, on: list[str]) -> Note:
    """Who was registered by the operator is registered by the sidecar now, but for the label that says "false" to it."""
    label = facts.old.era.label("client-registration-inject")
    if facts.pod.labels.get(label) == "false":
        return Note(reasons.INVERTED_LABEL, on, certain=True)
    if facts.old.era.registration == "optsIn" and not gates_in_force(facts.old)["clientRegistration"]:
        return Note(reasons.NO_EXCHANGE, on, certain=True)
    return Note(reasons.REGISTRATION_MOVED, sorted([*on, CONTAINERS["clientRegistration"]]), certain=True)


def _images(facts: Facts, found: Found) -> None:
    pull = facts.old.platform.get("images.pullPolicy") or "IfNotPresent"
    for component in facts.running:
        path = f"components.{component}.image"
        image = facts.image(component)
        found.values[path] = image
        found.values[f"components.{component}.imagePullPolicy"] = pull
        if f"images.{component}" not in facts.old.platform:
            found.notes[path] = Note(reasons.COMPILED_IMAGE)
        elif component == "envoyProxy" and not images.runs_our_bootstrap(image):
            found.notes[path] = Note(reasons.OLD_ENVOY)


def _resources(facts: Facts, found: Found) -> None:
    for component in facts.running:
        written = facts.old.platform.get(f"resources.{component}") or {}
        for path, default in RESOURCE_DEFAULTS[component].items():
            kind, _, name = path.partition(".")
            amount = (written.get(kind) or {}).get(name, default)
            whole = isinstance(amount, float) and amount == int(amount)
            found.values[f"components.{component}.resources.{path}"] = str(int(amount) if whole else amount)


def _identity(facts: Facts, found: Found) -> None:
    era, pod = facts.old.era, facts.pod
    name = workload_name(era, pod)
    account = name if facts.parts.spire and pod.service_account in ("", "default") else pod.service_account
    trust_domain = facts.old.trust_domain or str(facts.old.platform.get("spiffe.trustDomain") or "cluster.local")
    client_name = f"{pod.owner.namespace}/{name}"
    spiffe_id = f"spiffe://{trust_domain}/ns/{pod.owner.namespace}/sa/{account}"
    found.values["identity.spiffe.enabled"] = facts.parts.spire
    found.values["clientName"] = client_name
    found.values["clientId"] = spiffe_id if facts.parts.spire else client_name
    if name != pod.owner.name:
        found.notes["clientName"] = Note(reasons.CLIENT_NAME, f"{pod.owner.namespace}/{pod.owner.name}", certain=True)
        if not facts.parts.spire:
            found.notes["clientId"] = found.notes["clientName"]
    if account != pod.service_account:
        found.notes["clientId"] = Note(reasons.SERVICE_ACCOUNT)
    if facts.parts.spire:
        audience = (facts.plugin("token-exchange.identity") or {}).get("jwt_audience") or (
            facts.config("JWT_AUDIENCE") if era.consolidated else facts.namespace.jwt_audience
        )
        if audience:
            found.values["identity.spiffe.jwtAudience"] = audience


_DESCRIPTIONS: Final[tuple[Callable[[Facts, Found], None], ...]] = (
    _containers,
    _images,
    _resources,
    traffic.interception,
    traffic.registration,
    _identity,
    traffic.inbound,
)

"""Gates and platform values → the AgentRuntimeClusterConfig."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kagenti.core.migration import chain, images, model, reasons
from kagenti.core.migration.installation import Old
from kagenti.core.migration.keys import GATES, INTERCEPTION, PLATFORM, UNKNOWN, Key, key
from kagenti.core.migration.layer_spec import LayerSpec, fault_of
from kagenti.core.migration.report import Report, credentials, quoted
from kagenti_api.v1alpha1.built_in import BUILT_IN

JSON = Any  # a value of an old file

Exchanger = Literal["AuthBridge", "Envoy"]
COMPONENTS: Final = ("proxyInit", "spiffeHelper", "clientRegistration", "envoyProxy")
_AMOUNTS: Final = ("requests.cpu", "requests.memory", "limits.cpu", "limits.memory")
_PORTS: Final = {
    "proxy.port": f"{INTERCEPTION}.proxyPort",
    "proxy.inboundProxyPort": f"{INTERCEPTION}.inboundProxyPort",
    "proxy.uid": f"{INTERCEPTION}.proxyUid",
}
_ENVOY_IMAGE: Final = "components.envoyProxy.image"


@dataclass(frozen=True, slots=True)
class Choices:
    """What people may choose: who exchanges tokens from now on, and whether all-false gates go on injecting as they did."""

    exchanger: Exchanger = "AuthBridge"
    keep_injecting: bool = False


def cluster_layer(old: Old, choices: Choices, report: Report) -> LayerSpec:
    """Returns the cluster layer's values; every written key is noted, and what was compiled in and differs is written down."""
    spec = LayerSpec(report)
    _gates(old, choices, spec)
    for path, value in old.platform.items():
        _platform(path, value, old, choices, spec)
    _compiled(old, choices, spec)
    return spec


def exchanger(old: Old, choices: Choices) -> Exchanger:
    """Returns who exchanges tokens: the consolidated binaries have no counterpart, there it is Envoy."""
    return "Envoy" if old.era.consolidated else choices.exchanger


def _gates(old: Old, choices: Choices, spec: LayerSpec) -> None:
    place = old.gates_place or f"webhook {old.era.name}"
    kept = choices.keep_injecting and chain.all_false(old)
    if chain.all_false(old):
        _all_false(place, spec.report, kept=kept)
    for name, value in old.gates.items():
        left = _left_behind(name, value, old, kept=kept)
        if left is not None:
            spec.report.take(place, name, left)
        elif name != "injectTools":
            spec.carry(key(GATES, name).to, value, place, name, key(GATES, name))
        if name not in chain.GATE_DEFAULTS:
            spec.report.warn(reasons.UNKNOWN_KEY, place, f"{name} is not a gate of any era: it had no effect", name)
    if old.era.consolidated and not old.gates.get("envoyProxy", True) and not kept:
        spec.values["injection.enabled"] = False
    if old.era.tools_by_gate:
        _types(old, place, spec, kept=kept)


def _left_behind(name: str, value: bool, old: Old, *, kept: bool) -> Key | None:  # noqa: FBT001  # a gate's value
    """Returns the row of a gate that is not carried as it stands; None for one that is."""
    row = key(GATES, name)
    if name not in chain.GATE_DEFAULTS:
        return row
    if kept and not value:
        return Key("ignored", why="all gates are false, which had no effect; kept so as asked")
    if name not in chain.known_gates(old.era):
        return Key("ignored", why=f"without effect in {old.era.name}")
    if name == "clientRegistration" and not value and old.era.registration == "operator":
        return Key("ignored", why="the operator registered every client, whatever the gate said; here the sidecar does")
    if name == "envoyProxy" and not value and old.era.consolidated:
        return Key("derived", "injection.enabled", "the one container was this one: nothing was injected")
    if name == "combinedSidecar" and not value:
        return Key("ignored", why="one container for each component is the only way")
    return None if row.verdict == "carried" or name == "injectTools" else row


def _types(old: Old, place: str, spec: LayerSpec, *, kept: bool) -> None:
    path, written = "injection.types", not kept and "injectTools" in old.gates
    types = ["agent", "tool"] if written and old.gates["injectTools"] else ["agent"]
    if written:
        spec.carry(path, types, place, "injectTools", key(GATES, "injectTools"))
    else:
        why = "tools were injected by gate only, and the gate was off unless written"
        spec.derive(path, types, place, "injectTools (compiled in)", why)


def _all_false(place: str, report: Report, *, kept: bool) -> None:
    does = (
        "injection goes on, as asked; the written values are not carried"
        if kept
        else "what is written counts now: nothing will be injected. If agents must keep their sidecars, migrate with --keep-injecting"
    )
    report.warn(
        reasons.ALL_FALSE_GATES, place, f"every gate is false, which the old webhook took for an empty file: {does}"
    )


def _platform(path: str, value: JSON, old: Old, choices: Choices, spec: LayerSpec) -> None:
    place, row = old.platform_place, key(PLATFORM, path)
    head, _, rest = path.partition(".")
    if head == "images" and rest != "pullPolicy":
        _image(rest, str(value), place, old, choices, spec)
    elif path == "images.pullPolicy":
        _pull_policy(value, place, spec, row)
    elif path in _PORTS:
        spec.carry(_PORTS[path], value, place, path, row)
    elif head == "resources" and rest in COMPONENTS:
        _resources(rest, value or {}, place, spec, row)
    elif path == "spiffe.trustDomain":
        if old.trust_domain:
            spec.report.take(place, path, Key("ignored", why="--trust-domain says it"))
        else:
            spec.carry(row.to, value, place, path, row)
    elif head == "sidecars" and old.era.sidecars_matter:
        spec.carry(f"components.{rest}", value, place, path, Key("carried", why="in this era the lowest layer"))
    else:
        spec.report.take(place, path, row)
        _unknown(path, row, place, spec)
    for name in credentials({path: value}):
        spec.report.warn(reasons.PLAIN_CREDENTIAL, place, f"{name}: {_PLAIN}", name)


_PLAIN: Final = "a credential in plain text, which is not carried: put it into a Secret, then delete the key"


def _unknown(path: str, row: Key, place: str, spec: LayerSpec) -> None:
    if row is UNKNOWN:
        spec.report.warn(reasons.UNKNOWN_KEY, place, f"{path} is not a key of any era: it had no effect", path)


def _pull_policy(value: JSON, place: str, spec: LayerSpec, row: Key) -> None:
    """One value became one for each component; one that Kubernetes does not know was not checked, and its pods were refused."""
    paths = [f"components.{component}.imagePullPolicy" for component in COMPONENTS]
    fault = fault_of(paths[0], value)
    if fault:
        spec.report.impossible(place, "images.pullPolicy", f"it cannot be {quoted(value)}: {fault}")
        spec.lost |= dict.fromkeys(paths, reasons.NOT_CARRIED)
    else:
        spec.values |= dict.fromkeys(paths, value)
        spec.report.take(place, "images.pullPolicy", row)


def _image(component: str, image: str, place: str, old: Old, choices: Choices, spec: LayerSpec) -> None:
    path, name = f"components.{component}.image", f"images.{component}"
    row = key(PLATFORM, name)
    _unknown(name, row, place, spec)
    fault = images.fault_of(image) if image and row is not UNKNOWN else None
    if fault:
        spec.report.warn(fault[0], place, f"{name}: {fault[1]}", name)
    if component not in COMPONENTS or row.verdict != "carried":
        spec.report.take(place, name, row)
    elif component == "envoyProxy" and exchanger(old, choices) == "Envoy":
        why = "Envoy itself exchanges tokens: its own pinned image, which `kagenti explain` shows"
        spec.report.impossible(place, name, why)
        spec.lost[path] = reasons.NOT_CARRIED
    elif component == "envoyProxy" and not images.runs_our_bootstrap(image):
        spec.report.impossible(place, name, f"its Envoy is 1.28, too old for kagenti's bootstrap: {_PINNED}")
    elif spec.carry(path, image, place, name, row) and component == "envoyProxy":
        spec.values["injection.tokenExchange"] = "AuthBridge"


_PINNED: Final = "the pinned default takes its place, or choose v0.4.0-alpha.8 or later"


def _resources(component: str, written: Mapping[str, JSON], place: str, spec: LayerSpec, row: Key) -> None:
    for path, value in _amounts(written):
        field = f"components.{component}.resources.{path}"
        name = f"resources.{component}.{path}"
        if path not in _AMOUNTS:
            spec.report.impossible(place, name, "only requests and limits of cpu and memory can be set")
        else:
            spec.carry(field, _quantity(value), place, name, row)


def _quantity(value: JSON) -> str:
    """Returns an amount as a text; a number is an amount too (Kubernetes: "Quantity")."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _amounts(written: Mapping[str, JSON]) -> Iterator[tuple[str, JSON]]:
    for kind, amounts in written.items():
        if isinstance(amounts, Mapping):
            yield from ((f"{kind}.{name}", value) for name, value in amounts.items())
        else:
            yield kind, amounts


def _compiled(old: Old, choices: Choices, spec: LayerSpec) -> None:
    """Writes down what the old webhook had compiled in and kagenti has otherwise."""
    place = f"webhook {old.era.name}"
    if exchanger(old, choices) == "AuthBridge" and "injection.tokenExchange" not in spec.values:
        why = "the processor of the envoy-with-processor image exchanged tokens"
        spec.derive("injection.tokenExchange", "AuthBridge", place, "envoy-with-processor", why)
    if old.era.consolidated:
        return
    why = "always excluded by the old webhook; every service on 8080 escapes the policy, so leave it out when you can"
    spec.derive(f"{INTERCEPTION}.excludePorts", [8080], place, "OUTBOUND_PORTS_EXCLUDE=8080", why)
    if old.era.spire_by_label:
        why = "SPIRE only by label: an AgentRuntime for each workload that has it"
        spec.derive("identity.spiffe.enabled", value=False, place=place, name="label spire (absent)", why=why)
    for component in COMPONENTS:
        for path in _AMOUNTS:
            _default_amount(component, path, place, spec)


def _default_amount(component: str, path: str, place: str, spec: LayerSpec) -> None:
    field = f"components.{component}.resources.{path}"
    kind, _, name = path.partition(".")
    amount = model.RESOURCE_DEFAULTS[component][path]
    ours = BUILT_IN["components"][component]["resources"][kind][name]
    if field not in spec.values and field not in spec.lost and amount != ours:
        spec.derive(
            field, amount, place, f"resources.{component}.{path}", f"compiled in; kagenti's own default is {ours}"
        )


def trust_domain(old: Old, spec: LayerSpec) -> None:
    """Sets the trust domain that the user named, and says what hangs on it."""
    path = "identity.spiffe.trustDomain"
    if old.trust_domain:
        spec.derive(path, old.trust_domain, "--trust-domain", old.trust_domain, "SPIRE's own")
        return
    known = spec.values.get(path)
    says = f"{quoted(known)}, as the old file says" if known else "cluster.local, the built-in default"
    message = (
        f"taken for {says}; client ids and the inbound audience are made of it, so it must be SPIRE's: --trust-domain"
    )
    spec.report.warn(reasons.TRUST_DOMAIN, "identity.spiffe.trustDomain", message, path)

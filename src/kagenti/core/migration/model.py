"""The old webhook as an executable model: for one pod of one installation, whether it was injected and with what.

Written from the description of its code (reference authbridge-contract sections 1, 2.3, 3.4, 6 and 8), in its own terms and without
a look at the mapping: that both say the same is what ``verify`` and the property tests prove. Fields are named by kagenti's setting
paths where they have one. A field with a note is one that a quirk of the old world decided, and that need not come out the same.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from kagenti.core.migration import images, reasons
from kagenti.core.migration.chain import (
    Components,
    OldPod,
    all_false,
    components,
    gates_in_force,
    selected,
    workload_name,
)
from kagenti.core.migration.installation import Old, OldNamespace
from kagenti.core.migration.keys import INTERCEPTION, KEYCLOAK, REGISTRATION, VALIDATION
from kagenti.core.migration.routes import Outbound
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a value of an old file

CONTAINERS: Final = {
    "proxyInit": "proxy-init",
    "spiffeHelper": "spiffe-helper",
    "clientRegistration": "kagenti-client-registration",
    "envoyProxy": "envoy-proxy",
}
"""Component → container name; kagenti kept the names."""


def _amounts(cpu: str, memory: str, cpu_limit: str, memory_limit: str) -> dict[str, str]:
    return {"requests.cpu": cpu, "requests.memory": memory, "limits.cpu": cpu_limit, "limits.memory": memory_limit}


RESOURCE_DEFAULTS: Final[Mapping[str, Mapping[str, str]]] = {
    "proxyInit": _amounts("10m", "10Mi", "10m", "10Mi"),
    "spiffeHelper": _amounts("50m", "64Mi", "100m", "128Mi"),
    "clientRegistration": _amounts("50m", "64Mi", "100m", "128Mi"),
    "envoyProxy": _amounts("50m", "64Mi", "200m", "256Mi"),
}
_PORTS: Final = {"proxy.port": 15123, "proxy.inboundProxyPort": 15124, "proxy.uid": 1337}
_BYPASS: Final = ["/.well-known/*", "/healthz", "/readyz", "/livez"]
_KEYCLOAK_PORT: Final = 8080  # always excluded, so that the registration reached Keycloak (2.3)


@dataclass(frozen=True, slots=True)
class Note:
    """Why a field need not come out the same: a reason code, and where it is certain, the value that it must have now."""

    reason: str
    expected: JSON = None
    certain: bool = False


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
    facts = _Facts(old, pod, parts, old.namespaces.get(pod.owner.namespace) or OldNamespace(pod.owner.namespace))
    found = Found()
    for describe in _DESCRIPTIONS:
        describe(facts, found)
    outbound = _outbound(facts)
    if all_false(old):
        found.notes["injected"] = Note(reasons.ALL_FALSE_GATES, expected=False, certain=True)
    return Effective(found.values, found.notes, outbound)


@dataclass(slots=True)
class Found:
    """Fields as they are gathered."""

    values: dict[str, JSON] = field(default_factory=lambda: {"injected": True})
    notes: dict[str, Note] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the descriptions read."""

    old: Old
    pod: OldPod
    parts: Components
    namespace: OldNamespace

    def config(self, name: str) -> str:
        """Returns a value of authbridge-config; an empty one counts as missing (1.3)."""
        return self.namespace.config.get(name, "").strip()

    def image(self, component: str) -> str:
        return str(self.old.platform.get(f"images.{component}") or images.COMPILED[component])

    @property
    def processor(self) -> images.Processor:
        if self.old.era.consolidated:
            return images.Processor()
        return images.processor_of(self.image("authbridge" if self.parts.combined else "envoyProxy"))

    @property
    def running(self) -> tuple[str, ...]:
        """The components that ran as a container of their own."""
        if self.old.era.consolidated:
            return ()
        on = {"envoyProxy": self.parts.envoy, "proxyInit": self.parts.envoy, "spiffeHelper": self.parts.spire}
        on["clientRegistration"] = self.parts.registers
        if self.parts.combined:
            return ("proxyInit",) if self.parts.envoy else ()
        return tuple(component for component in CONTAINERS if on[component])

    def plugin(self, name: str) -> JSON:
        """Returns a field of the consolidated binary's plugins."""
        runtime = self.namespace.runtime
        return runtime.values.get(name) if runtime is not None and self.old.era.consolidated else None


def _containers(facts: _Facts, found: Found) -> None:
    on = sorted(CONTAINERS[component] for component in facts.running)
    found.values["containers"] = on
    if facts.parts.combined:
        found.notes["containers"] = Note(reasons.COMBINED_SIDECAR)
    elif facts.old.era.registration != "optsOut" and not facts.parts.registers:
        found.notes["containers"] = _registration_note(facts, on)


def _registration_note(facts: _Facts, on: list[str]) -> Note:
    """Who was registered by the operator is registered by the sidecar now, but for the label that says "false" to it."""
    label = facts.old.era.label("client-registration-inject")
    if facts.pod.labels.get(label) == "false":
        return Note(reasons.INVERTED_LABEL, on, certain=True)
    if not gates_in_force(facts.old)["clientRegistration"]:
        return Note(reasons.NO_EXCHANGE, on, certain=True)
    return Note(reasons.REGISTRATION_MOVED, sorted([*on, CONTAINERS["clientRegistration"]]), certain=True)


def _images(facts: _Facts, found: Found) -> None:
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


def _resources(facts: _Facts, found: Found) -> None:
    for component in facts.running:
        written = facts.old.platform.get(f"resources.{component}") or {}
        for path, default in RESOURCE_DEFAULTS[component].items():
            kind, _, name = path.partition(".")
            amount = (written.get(kind) or {}).get(name, default)
            whole = isinstance(amount, float) and amount == int(amount)
            found.values[f"components.{component}.resources.{path}"] = str(int(amount) if whole else amount)


def _interception(facts: _Facts, found: Found) -> None:
    if not facts.parts.envoy:
        return
    ports = {name: facts.old.platform.get(name, default) for name, default in _PORTS.items()}
    found.values[f"{INTERCEPTION}.proxyPort"] = ports["proxy.port"]
    found.values[f"{INTERCEPTION}.inboundProxyPort"] = ports["proxy.inboundProxyPort"]
    found.values[f"{INTERCEPTION}.proxyUid"] = ports["proxy.uid"]
    era = facts.old.era
    annotated = {
        name: _ports(facts.pod.annotations.get(era.label(f"{name}-ports-exclude"), ""))
        for name in ("outbound", "inbound")
    }
    paths = {"outbound": f"{INTERCEPTION}.excludePorts", "inbound": "identity.inbound.excludePorts"}
    mode = facts.namespace.runtime.mode if facts.namespace.runtime is not None else ""
    always = {_KEYCLOAK_PORT}
    for name, excluded in annotated.items():
        under_ours = _ports(facts.pod.annotations.get(f"{wellknown.PREFIX}{name}-ports-exclude", ""))
        if era.prefix != wellknown.PREFIX and under_ours:
            found.notes[paths[name]] = Note(reasons.ANNOTATION_COUNTS)
        if not excluded:
            continue
        if era.prefix != wellknown.PREFIX:
            found.notes[paths[name]] = Note(reasons.OTHER_PREFIX)
        elif era.target == "workloads" or (era.consolidated and mode != "envoy-sidecar"):
            found.notes[paths[name]] = Note(reasons.ANNOTATION_COUNTS)
    if era.consolidated and mode != "envoy-sidecar":  # enforce-redirect knows no excluded ports (2.4)
        annotated, always = {"outbound": [], "inbound": []}, set()
    if era.target == "workloads":  # the annotations came with 2026-03-16
        annotated = {"outbound": [], "inbound": []}
    found.values[paths["outbound"]] = sorted({*always, *annotated["outbound"]})
    found.values[paths["inbound"]] = sorted(annotated["inbound"])


def _ports(text: str) -> list[int]:
    tokens = [token.strip() for token in text.split(",")]
    return sorted(
        {int(token) for token in tokens if token.isascii() and token.isdigit() and 0 < int(token[:6]) < 65536}
    )


def _registration(facts: _Facts, found: Found) -> None:
    """The environment of the registration, or what the operator took from the same keys (1.3, 4.3)."""
    token_url = facts.config("TOKEN_URL")
    base, _, rest = token_url.partition("/realms/")
    url = facts.plugin("token-exchange.keycloak_url") or facts.config("KEYCLOAK_URL") or (base if rest else "")
    realm = facts.plugin("token-exchange.keycloak_realm") or facts.config("KEYCLOAK_REALM")
    realm = realm or rest.partition("/")[0]
    clients = [part.strip() for part in facts.config("PLATFORM_CLIENT_IDS").split(",") if part.strip()]
    by_type = (facts.plugin("token-exchange.identity") or {}).get("type")
    auth_type = {"spiffe": "federated-jwt", "client-secret": "client-secret"}.get(str(by_type), "")
    found.values |= {
        f"{KEYCLOAK}.url": url.rstrip("/"),
        f"{KEYCLOAK}.realm": realm,
        f"{KEYCLOAK}.platformClientIds": clients or ["kagenti"],
        f"{REGISTRATION}.authType": auth_type or facts.config("CLIENT_AUTH_TYPE") or "client-secret",
        f"{REGISTRATION}.idpAlias": facts.config("SPIFFE_IDP_ALIAS") or "spire-spiffe",
    }
    for path in (f"{KEYCLOAK}.url", f"{KEYCLOAK}.realm"):
        if not found.values[path]:  # its env was required, or the registration failed (1.3)
            found.notes[path] = Note(reasons.OLD_STUCK)
    if facts.parts.registers and not facts.old.era.consolidated:
        found.values[f"{KEYCLOAK}.adminCredentialsSecret"] = "keycloak-admin-secret"


def _identity(facts: _Facts, found: Found) -> None:
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


def _token_url(facts: _Facts, found: Found) -> str:
    given = facts.plugin("token-exchange.token_url") or facts.config("TOKEN_URL")
    url, realm = found.values[f"{KEYCLOAK}.url"], found.values[f"{KEYCLOAK}.realm"]
    if given or not facts.processor.derives or not (url and realm):
        return str(given or "")
    return f"{url}/realms/{realm}/protocol/openid-connect/token"


def _inbound(facts: _Facts, found: Found) -> None:
    """What a caller had to show: nothing at all where the processor did not know issuer and keys, or the direction (3.2, 3.4)."""
    if not facts.parts.envoy:
        return
    issuer = facts.plugin("jwt-validation.issuer") or facts.config("ISSUER")
    url, realm = found.values[f"{KEYCLOAK}.url"], found.values[f"{KEYCLOAK}.realm"]
    if not issuer and facts.processor.derives and url and realm:
        issuer = f"{url}/realms/{realm}"
    token_url = _token_url(facts, found)
    by_token_url = f"{token_url.removesuffix('/token')}/certs" if token_url.endswith("/token") else ""
    jwks = facts.plugin("jwt-validation.jwks_url") or by_token_url
    envoy = facts.namespace.envoy
    marked = envoy is None or envoy.inbound_marked
    validates = bool(facts.processor.inbound and issuer and jwks and marked)
    found.values["validates"] = validates
    if not validates:
        found.notes["validates"] = Note(reasons.VALIDATION_SKIPPED, expected=True, certain=True)
        return
    found.values[f"{VALIDATION}.issuer"] = issuer
    found.values[f"{VALIDATION}.jwksUrl"] = jwks
    found.values[f"{VALIDATION}.bypassPaths"] = list(facts.plugin("jwt-validation.bypass_paths") or _BYPASS)
    _audience(facts, found)


def _audience(facts: _Facts, found: Found) -> None:
    path = f"{VALIDATION}.audience"
    if facts.old.era.consolidated and facts.plugin("jwt-validation.audience"):
        found.values[path] = facts.plugin("jwt-validation.audience")
        return
    if facts.processor.expected_audience:
        found.values[path] = facts.config("EXPECTED_AUDIENCE")
        if not found.values[path]:
            found.notes[path] = Note(reasons.AUDIENCE_REQUIRED)
        return
    found.values[path] = found.values["clientId"]
    if "clientId" in found.notes:
        found.notes[path] = found.notes["clientId"]


def _outbound(facts: _Facts) -> Outbound:
    """The outbound environment; without a proxy, or without a client, every call went out unchanged."""
    if not facts.parts.envoy:
        return Outbound()
    found = Found()
    _registration(facts, found)
    processor = facts.processor
    policy = facts.plugin("token-exchange.default_policy") or facts.config("DEFAULT_OUTBOUND_POLICY")
    missing = "ClientCredentials"
    if facts.old.era.consolidated:
        no_token = facts.plugin("token-exchange.no_token_policy")
        missing = {"client-credentials": "ClientCredentials"}.get(str(no_token), "Deny")
    return Outbound(
        routes=facts.namespace.routes if processor.routes else (),
        exchanges=policy == "exchange" or not processor.default_policy,
        audience=facts.config("TARGET_AUDIENCE") if processor.targets else "",
        scopes=facts.config("TARGET_SCOPES") if processor.targets else "",
        token_url=_token_url(facts, found),
        on_missing_token=missing,
    )


_DESCRIPTIONS: Final[tuple[Callable[[_Facts, Found], None], ...]] = (
    _containers,
    _images,
    _resources,
    _interception,
    _registration,
    _identity,
    _inbound,
)


def server_of(url: str) -> str:
    """Returns scheme, host and port of a URL as a prefix; empty for what is none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme and parts.netloc else ""

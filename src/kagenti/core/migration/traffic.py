"""The old pod's traffic: what was intercepted, where it was registered, what callers had to show, what went out with which token.

Part of ``model``, under the same rule: in the old world's terms, without a look at the mapping (reference sections 1.3 to 1.5, 2, 3).
"""

from typing import Any, Final

from kagenti.core.migration import reasons
from kagenti.core.migration.facts import Facts, Found, Note
from kagenti.core.migration.keys import INTERCEPTION, KEYCLOAK, REGISTRATION, VALIDATION
from kagenti.core.migration.routes import Outbound
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a value of an old file

_PORTS: Final = {"proxy.port": 15123, "proxy.inboundProxyPort": 15124, "proxy.uid": 1337}
_BYPASS: Final = ["/.well-known/*", "/healthz", "/readyz", "/livez"]
_KEYCLOAK_PORT: Final = 8080  # always excluded, so that the registration reached Keycloak (2.3)


def interception(facts: Facts, found: Found) -> None:
    """Ports and user of the proxy, and the ports that were left alone (2.1, 2.3, 2.4)."""
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


def registration(facts: Facts, found: Found) -> None:
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
    exchangeable = facts.config("KEYCLOAK_TOKEN_EXCHANGE_ENABLED").lower() if facts.old.era.consolidated else ""
    found.values[f"{KEYCLOAK}.tokenExchangeEnabled"] = exchangeable != "false"
    if facts.parts.combined and not facts.old.era.consolidated:
        _without_auth_type(found)
    for path in (f"{KEYCLOAK}.url", f"{KEYCLOAK}.realm"):
        if not found.values[path]:  # its env was required, or the registration failed (1.3)
            found.notes[path] = Note(reasons.OLD_STUCK)
    if facts.parts.registers and not facts.old.era.consolidated:
        found.values[f"{KEYCLOAK}.adminCredentialsSecret"] = "keycloak-admin-secret"


def _without_auth_type(found: Found) -> None:
    """The combined container was not told the two keys, so that its registration took the defaults (1.6)."""
    for path, default in ((f"{REGISTRATION}.authType", "client-secret"), (f"{REGISTRATION}.idpAlias", "spire-spiffe")):
        if found.values[path] != default:
            found.values[path] = default
            found.notes[path] = Note(reasons.COMBINED_SIDECAR)


def _token_url(facts: Facts, found: Found) -> str:
    given = facts.plugin("token-exchange.token_url") or facts.config("TOKEN_URL")
    url, realm = found.values[f"{KEYCLOAK}.url"], found.values[f"{KEYCLOAK}.realm"]
    if given or not facts.processor.derives or not (url and realm):
        return str(given or "")
    return f"{url}/realms/{realm}/protocol/openid-connect/token"


def inbound(facts: Facts, found: Found) -> None:
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


def _audience(facts: Facts, found: Found) -> None:
    path = f"{VALIDATION}.audience"
    if facts.old.era.consolidated and facts.plugin("jwt-validation.audience"):
        found.values[path] = facts.plugin("jwt-validation.audience")
        return
    if facts.processor.expected_audience or not facts.has_client:
        found.values[path] = facts.config("EXPECTED_AUDIENCE") if facts.processor.expected_audience else ""
        if not found.values[path]:
            found.notes[path] = Note(reasons.AUDIENCE_REQUIRED)
        return
    found.values[path] = found.values["clientId"]
    if "clientId" in found.notes:
        found.notes[path] = found.notes["clientId"]


def outbound(facts: Facts) -> Outbound:
    """The outbound environment; without a proxy, or without a client, every call went out unchanged."""
    if not (facts.parts.envoy and facts.has_client):
        return Outbound()
    found = Found()
    registration(facts, found)
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

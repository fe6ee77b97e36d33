"""Every key of the old ConfigMaps as one table: where it goes, or why it goes nowhere. The guide prints it.

Source: reference authbridge-contract sections 3.5, 3.6, 5 and 6. The mapping looks its words up here; a value that cannot be
carried where the table says "carried" is reported as impossible, with what to do.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Verdict = Literal["carried", "derived", "ignored", "impossible"]
"""Carried as written; derived (another value or field with the same effect); ignored before or now; impossible here."""

GATES, PLATFORM, CONFIG = "feature-gates.yaml", "config.yaml", "authbridge-config"
ROUTES, HELPER, ENVOY, RUNTIME = "routes.yaml", "helper.conf", "envoy.yaml", "authbridge-runtime-config"
ENVIRONMENTS: Final = "environments"

KEYCLOAK: Final = "identity.clientRegistration.keycloak"
REGISTRATION: Final = "identity.clientRegistration"
VALIDATION: Final = "identity.inbound.validation"
INTERCEPTION: Final = "identity.outbound.trafficInterception"
EXCHANGE: Final = "identity.outbound.tokenExchange"
POLICY: Final = "identity.outbound.defaultPolicy"


@dataclass(frozen=True, slots=True)
class Key:
    """One key of one old file: its usual verdict, the setting it goes to, and why."""

    verdict: Verdict
    to: str = ""
    why: str = ""


_NEVER_READ: Final = "the old webhook parsed it and never read it"
_COMBINED: Final = "the combined container does not exist here: each component is its own"
_STOCK: Final = "the file is rendered by kagenti; what is stock in it needs no setting"

_GATES: Final = {
    "globalEnabled": Key("carried", "injection.enabled"),
    "envoyProxy": Key(
        "carried", "components.envoyProxy.enabled", "proxy-init goes with it; from E4 on injection.enabled"
    ),
    "spiffeHelper": Key("carried", "identity.spiffe.enabled", "SPIRE followed this gate"),
    "clientRegistration": Key(
        "carried", "components.clientRegistration.enabled", "ignored where the operator registered: from E3 on"
    ),
    "injectTools": Key("derived", "injection.types", "false: [agent], true: [agent, tool]"),
    "perWorkloadConfigResolution": Key("ignored", why="settings are always resolved per workload, at admission"),
    "combinedSidecar": Key("impossible", why=_COMBINED),
    "skillDiscovery": Key("ignored", why="it had no part in injection"),
}

_PLATFORM: Final = {
    "images.envoyProxy": Key("carried", "components.envoyProxy.image", "beside it injection.tokenExchange: AuthBridge"),
    "images.proxyInit": Key("carried", "components.proxyInit.image"),
    "images.spiffeHelper": Key("carried", "components.spiffeHelper.image"),
    "images.clientRegistration": Key("carried", "components.clientRegistration.image"),
    "images.authbridge": Key("impossible", why=_COMBINED),
    "images.authbridgeLite": Key("impossible", why=_COMBINED),
    "images.pullPolicy": Key(
        "derived", "components.*.imagePullPolicy", "one value for all containers became one for each"
    ),
    "proxy.port": Key("carried", f"{INTERCEPTION}.proxyPort"),
    "proxy.uid": Key("carried", f"{INTERCEPTION}.proxyUid"),
    "proxy.inboundProxyPort": Key("carried", f"{INTERCEPTION}.inboundProxyPort"),
    "proxy.adminPort": Key("ignored", why="Envoy's admin interface has no port any more: it is on a private pipe"),
    "proxy.transparentPort": Key("ignored", why="one listener serves every intercepted connection: proxyPort"),
    "proxy.transparentInboundPort": Key("ignored", why="one listener serves every intercepted connection"),
    "proxy.iptablesCmd": Key("ignored", why="proxy-init finds the usable iptables by itself"),
    "proxy.allowedEgressEnforcement": Key("ignored", why="traffic is always intercepted, in IPv4 and IPv6"),
    "proxy.allowedInboundInterception": Key("ignored", why="inbound interception is always transparent"),
    "resources.envoyProxy": Key("carried", "components.envoyProxy.resources", "cpu and memory, amount by amount"),
    "resources.proxyInit": Key("carried", "components.proxyInit.resources", "cpu and memory, amount by amount"),
    "resources.spiffeHelper": Key("carried", "components.spiffeHelper.resources", "cpu and memory, amount by amount"),
    "resources.clientRegistration": Key(
        "carried", "components.clientRegistration.resources", "cpu and memory, amount by amount"
    ),
    "resources.authbridge": Key("impossible", why=_COMBINED),
    "resources.authbridgeLite": Key("impossible", why=_COMBINED),
    "tokenExchange.tokenUrl": Key("ignored", why=_NEVER_READ),
    "tokenExchange.defaultAudience": Key("ignored", why=_NEVER_READ),
    "tokenExchange.defaultScopes": Key("ignored", why=_NEVER_READ),
    "spiffe.trustDomain": Key("carried", "identity.spiffe.trustDomain", "it had no effect; now it must be SPIRE's own"),
    "spiffe.socketPath": Key("ignored", why="not connected to helper.conf; the CSI driver gives the socket"),
    "spiffe.helperConfig": Key("ignored", why="helper.conf is rendered by kagenti"),
    "observability.logLevel": Key("ignored", why=_NEVER_READ),
    "observability.enableMetrics": Key("ignored", why=_NEVER_READ),
    "observability.enableTracing": Key("ignored", why=_NEVER_READ),
    "observability.tracingBackend": Key("ignored", why=_NEVER_READ),
    "sidecars.envoyProxy.enabled": Key("ignored", why="without effect since 2026-03-04: false would stop what runs"),
    "sidecars.spiffeHelper.enabled": Key("ignored", why="without effect since 2026-03-04: false would stop what runs"),
    "sidecars.clientRegistration.enabled": Key(
        "ignored", why="without effect since 2026-03-04: false would stop what runs"
    ),
    "ibac": Key("impossible", why="intent-based access control is not part of kagenti"),
}

_PLAIN: Final = "a credential in plain text: create the Secret keycloak-admin-secret from it, then delete the key"

_CONFIG: Final = {
    "KEYCLOAK_URL": Key("carried", f"{KEYCLOAK}.url", "beside it adminCredentialsSecret, which never leaves its layer"),
    "KEYCLOAK_REALM": Key("carried", f"{KEYCLOAK}.realm"),
    "KEYCLOAK_NAMESPACE": Key("ignored", why="the old operator's own; kagenti goes by the URL"),
    "ISSUER": Key("carried", f"{VALIDATION}.issuer"),
    "TOKEN_URL": Key("carried", f"{EXCHANGE}.tokenUrl", "its /token gave /certs, which is jwksUrl"),
    "EXPECTED_AUDIENCE": Key(
        "carried", f"{VALIDATION}.audience", "up to image v0.4.0-alpha.11; later the client id: self"
    ),
    "TARGET_AUDIENCE": Key("carried", f"{EXCHANGE}.defaultTarget.audience"),
    "TARGET_SCOPES": Key("carried", f"{EXCHANGE}.defaultTarget.scopes"),
    "DEFAULT_OUTBOUND_POLICY": Key("carried", POLICY, "exchange only where audience and scopes were set"),
    "SPIRE_ENABLED": Key("ignored", why="nobody read it: SPIRE followed the spiffe-helper decision"),
    "PLATFORM_CLIENT_IDS": Key("carried", f"{KEYCLOAK}.platformClientIds"),
    "CLIENT_AUTH_TYPE": Key("carried", f"{REGISTRATION}.authType"),
    "SPIFFE_IDP_ALIAS": Key("carried", f"{REGISTRATION}.idpAlias"),
    "JWT_AUDIENCE": Key("carried", "identity.spiffe.jwtAudience", "read from E4 on; before, helper.conf had it"),
    "CREDENTIAL_WAIT_TIMEOUT": Key("ignored", why="a pod without its registration is not Ready, however long it takes"),
    "KEYCLOAK_TOKEN_EXCHANGE_ENABLED": Key("carried", f"{KEYCLOAK}.tokenExchangeEnabled", "read from E4 on"),
    "KEYCLOAK_AUDIENCE_SCOPE_ENABLED": Key("ignored", why="the audience scope is always made"),
    "KEYCLOAK_ADMIN_USERNAME": Key("impossible", why=_PLAIN),
    "KEYCLOAK_ADMIN_PASSWORD": Key("impossible", why=_PLAIN),
}

_RULES: Final = f"{EXCHANGE}.destinationRules"
_ROUTES: Final = {
    "host": Key("carried", f"{_RULES}[].match.host", "exact, and **.suffix as *.suffix; other globs are impossible"),
    "target_audience": Key("carried", f"{_RULES}[].target.audience"),
    "token_scopes": Key("carried", f"{_RULES}[].target.scopes"),
    "token_url": Key("carried", f"{_RULES}[].target.tokenUrl"),
    "passthrough": Key("carried", f"{_RULES}[].action", "up to E3"),
    "action": Key("carried", f"{_RULES}[].action", "from E4 on; ignored before"),
}

_HELPER: Final = {
    "jwt_svids": Key("carried", "identity.spiffe.jwtAudience", "the audience of jwt_svid.token"),
    "agent_address": Key("ignored", why=_STOCK),
    "cmd": Key("ignored", why=_STOCK),
    "cmd_args": Key("ignored", why=_STOCK),
    "renew_signal": Key("ignored", why=_STOCK),
    "cert_dir": Key("ignored", why=_STOCK),
    "svid_file_name": Key("ignored", why=_STOCK),
    "svid_key_file_name": Key("ignored", why=_STOCK),
    "svid_bundle_file_name": Key("ignored", why=_STOCK),
    "cert_file_mode": Key("ignored", why="files are 0640 for the group of kagenti's containers"),
    "key_file_mode": Key("ignored", why="files are 0640 for the group of kagenti's containers"),
    "jwt_svid_file_mode": Key("ignored", why="files are 0640 for the group of kagenti's containers"),
    "include_federated_domains": Key("ignored", why="kagenti reads no federated bundle"),
}

_ENVOY: Final = {
    "admin": Key("ignored", why="Envoy's admin interface is on a private pipe"),
    "listeners": Key("derived", f"{INTERCEPTION}.*", "the two stock listeners come over xDS; others are impossible"),
    "clusters": Key("derived", why="the two stock clusters come over xDS; others are impossible"),
    "http_filters": Key("derived", why="lua, ext_proc and router were stock; others are impossible"),
}

_RUNTIME: Final = {
    "mode": Key("ignored", why="there is one mode: transparent interception by Envoy"),
    "listener": Key("ignored", why="addresses are kagenti's own"),
    "session": Key("ignored", why="there is no session API"),
    "stats": Key("ignored", why="Envoy's own metrics: port 15021"),
    "mtls": Key("impossible", why="mTLS between agents is the mesh's: use ambient mode"),
    "tls_bridge": Key("impossible", why="outbound HTTPS passes untouched; call http://host, Envoy adds token and TLS"),
    "spiffe": Key("derived", "identity.spiffe.enabled", "present: SPIRE on"),
    "jwt-validation.issuer": Key("carried", f"{VALIDATION}.issuer"),
    "jwt-validation.jwks_url": Key("carried", f"{VALIDATION}.jwksUrl"),
    "jwt-validation.keycloak_url": Key("carried", f"{KEYCLOAK}.url"),
    "jwt-validation.keycloak_realm": Key("carried", f"{KEYCLOAK}.realm"),
    "jwt-validation.audience": Key("carried", f"{VALIDATION}.audience"),
    "jwt-validation.audience_file": Key("ignored", why="the file is the client id: audience self"),
    "jwt-validation.audience_mode": Key("ignored", why="audience and destinationRules say it"),
    "jwt-validation.allowed_audiences": Key("impossible", why="one audience is accepted: choose it"),
    "jwt-validation.bypass_paths": Key("carried", f"{VALIDATION}.bypassPaths", "exact, or a trailing /*"),
    "token-exchange.token_url": Key("carried", f"{EXCHANGE}.tokenUrl"),
    "token-exchange.keycloak_url": Key("carried", f"{KEYCLOAK}.url"),
    "token-exchange.keycloak_realm": Key("carried", f"{KEYCLOAK}.realm"),
    "token-exchange.default_policy": Key("carried", POLICY),
    "token-exchange.no_token_policy": Key("carried", f"{_RULES}[].onMissingToken", "deny or client-credentials"),
    "token-exchange.identity": Key(
        "derived", f"{REGISTRATION}.authType", "type and jwt_audience; the files are kagenti's"
    ),
    "token-exchange.routes": Key("carried", _RULES, "inline rules; a file is authproxy-routes"),
    "token-exchange.audience_from_host": Key("impossible", why="write a destination rule for each host"),
    "plugin": Key("impossible", why="other plugins of the authbridge binary have no counterpart"),
}

KEYS: Final[Mapping[str, Mapping[str, Key]]] = {
    GATES: _GATES,
    PLATFORM: _PLATFORM,
    CONFIG: _CONFIG,
    ROUTES: _ROUTES,
    HELPER: _HELPER,
    ENVOY: _ENVOY,
    RUNTIME: _RUNTIME,
}
"""File → key → what becomes of it. ``environments`` (up to 2026-03-12) had keys of ``authbridge-config``."""

UNKNOWN: Final = Key("ignored", why="the old webhook did not know this key either")


def key(file: str, name: str) -> Key:
    """Returns the row of a key; UNKNOWN for one that no era knew."""
    return KEYS[file].get(name, UNKNOWN)

"""The ConfigMaps of an agent namespace → its AgentRuntimeConfig."""

import functools
from collections.abc import Callable, Container, Mapping
from typing import Any, Final

from kagenti.core.migration import images, reasons
from kagenti.core.migration.installation import Old, OldNamespace
from kagenti.core.migration.keys import (
    CONFIG,
    EXCHANGE,
    KEYCLOAK,
    REGISTRATION,
    RUNTIME,
    UNKNOWN,
    VALIDATION,
    Key,
    key,
)
from kagenti.core.migration.layer_spec import LayerSpec, fault_of
from kagenti.core.migration.outbound_layer import OutboundReader
from kagenti.core.migration.report import Report, is_credential, quoted
from kagenti.core.settings import inside

JSON = Any  # a value of an old file

ADMIN_SECRET: Final = "keycloak-admin-secret"  # noqa: S105  # a Secret's name
_POLICIES: Final = {"exchange": "Exchange", "passthrough": "Passthrough"}
_BOOLEANS: Final = {"true": True, "false": False}


def namespace_layer(
    old: Old, namespace: OldNamespace, report: Report, *, cluster_domain: str, namespaces: Container[str]
) -> LayerSpec:
    """Returns the namespace layer's values; every written key is noted once."""
    spec = LayerSpec(report)
    reader = _Reader(old, namespace, spec, _processor(old))
    for name in sorted(namespace.config):
        reader.config(name)
    for place, name in namespace.unread:
        reader.unread(place, name)
    reader.plugins()
    reader.derived()
    is_inside = functools.partial(inside, cluster_domain=cluster_domain, namespaces=namespaces)
    OutboundReader(old, namespace, spec, reader.processor, is_inside).read()
    return spec


def _processor(old: Old) -> images.Processor:
    """Returns what the processor of the image in use read."""
    if old.era.consolidated:
        return images.Processor()
    combined = old.gates.get("combinedSidecar", False) and old.era.name in ("E2b", "E3")
    component = "authbridge" if combined else "envoyProxy"
    return images.processor_of(str(old.platform.get(f"images.{component}") or images.COMPILED[component]))


class _Reader:
    """Carries the keys of one namespace into its spec."""

    def __init__(self, old: Old, namespace: OldNamespace, spec: LayerSpec, processor: images.Processor) -> None:
        self.old, self.namespace, self.spec, self.processor = old, namespace, spec, processor
        self.report = spec.report

    def config(self, name: str) -> None:
        """Takes one key of authbridge-config, or of environments before it."""
        place, value, row = self.namespace.places[name], self.namespace.config[name], key(CONFIG, name)
        if is_credential(name) and row.verdict != "carried":
            self._credential(place, name, row)
        elif row is UNKNOWN:
            self.report.take(place, name, row)
        elif not value.strip():
            self.report.take(place, name, Key("ignored", why="an empty value counted as missing"))
        elif row.verdict == "carried":
            self._carried(place, name, value, row)
        elif (
            name == "KEYCLOAK_AUDIENCE_SCOPE_ENABLED" and self.old.era.consolidated and _CONVERTED[name](value) is False
        ):
            self.report.impossible(place, name, row.why)
        else:
            self.report.take(place, name, row)

    def unread(self, place: str, name: str) -> None:
        """Takes one key that did not count, because another map said it or nobody read it; a credential is one all the same."""
        row = key(CONFIG, name)
        if is_credential(name) and row.verdict != "carried":
            self._credential(place, name, row)
        elif row.verdict == "ignored":
            self.report.take(place, name, row)
        else:
            said = self.namespace.places.get(name)
            why = f"{said} says it" if said else f"nobody read it in {self.old.era.name}"
            self.report.take(place, name, Key("ignored", why=why))

    def _credential(self, place: str, name: str, row: Key) -> None:
        by_name = "its name is that of a credential: put it into a Secret, then delete the key"
        why = by_name if row is UNKNOWN else row.why
        self.report.impossible(place, name, why)
        self.report.warn(reasons.PLAIN_CREDENTIAL, place, f"{name}: {why}", name)

    def _carried(self, place: str, name: str, value: str, row: Key) -> None:
        unread = self._unread(name)
        if unread:
            self.report.take(place, name, Key("ignored", why=unread))
            return
        if name == "DEFAULT_OUTBOUND_POLICY":
            return  # with the outbound rules, on which it depends
        converted = _CONVERTED.get(name, str.strip)(value)
        if converted is None:
            self.report.impossible(place, name, f"{quoted(value)} had no meaning; the old processor took its default")
            return
        late = name == "CLIENT_AUTH_TYPE" and converted == "federated-jwt" and not self.old.era.consolidated
        self.spec.carry(row.to, converted, place, name, row, why=_NEVER_WORKED if late else "")

    def _unread(self, name: str) -> str:
        """Returns why the binaries of this installation did not read a key; empty for one that they read."""
        if name in ("JWT_AUDIENCE", "KEYCLOAK_TOKEN_EXCHANGE_ENABLED") and not self.old.era.consolidated:
            return f"nobody read it in {self.old.era.name}"
        if name == "EXPECTED_AUDIENCE" and not self.processor.expected_audience:
            return "the processor of this image expects the client id: audience self, the default"
        if name in ("TARGET_AUDIENCE", "TARGET_SCOPES") and not self.processor.targets:
            return "the processor of this image did not read it"
        if name == "DEFAULT_OUTBOUND_POLICY" and not self.processor.default_policy:
            return "the processor of this image did not read it: every host was exchanged for"
        return ""

    def plugins(self) -> None:
        """Takes the settings of the consolidated binary, which win over authbridge-config."""
        runtime = self.namespace.runtime
        if runtime is None:
            if self.old.era.consolidated:
                self._without_spire(f"ConfigMap {self.namespace.name}/{RUNTIME}")
            return
        for name, value in runtime.values.items():
            row = key(RUNTIME, name)
            if name == "token-exchange.identity":
                self._plugin_identity(runtime.place, name, value, row)
            elif name == "jwt-validation.bypass_paths":
                self._bypass(runtime.place, name, value, row)
            elif name == "token-exchange.default_policy":
                continue  # with the outbound rules
            elif name == "token-exchange.no_token_policy":
                known = value in ("deny", "client-credentials")
                why = "" if known else f"{quoted(value)} lets callers without a token through: here they are refused"
                self.report.take(runtime.place, name, row, verdict="carried" if known else "impossible", why=why)
            elif row.verdict == "carried" and name != "token-exchange.routes":
                self.spec.carry(row.to, value, runtime.place, name, row)
            else:
                self.report.take(runtime.place, name, row)
        if runtime.mode == "envoy-sidecar":
            path = "identity.outbound.trafficInterception.excludePorts"
            why = "always excluded in this mode; every service on 8080 escapes the policy, so leave it out when you can"
            self.spec.derive(path, [8080], runtime.place, "OUTBOUND_PORTS_EXCLUDE=8080", why)
        if not runtime.spire:
            self._without_spire(runtime.place)

    def _without_spire(self, place: str) -> None:
        why = "SPIRE was off"
        self.spec.derive("identity.spiffe.enabled", value=False, place=place, name="spiffe (absent)", why=why)

    def _plugin_identity(self, place: str, name: str, value: Mapping[str, JSON], row: Key) -> None:
        kinds = {"spiffe": "federated-jwt", "client-secret": "client-secret"}
        auth_type = kinds.get(str(value.get("type")))
        if auth_type:
            self.spec.values[f"{REGISTRATION}.authType"] = auth_type
        self.report.take(place, name, row)
        if isinstance(value.get("jwt_audience"), str):
            self._jwt_audience(place, f"{name}.jwt_audience", value["jwt_audience"])

    def _bypass(self, place: str, name: str, value: list[JSON], row: Key) -> None:
        path = f"{VALIDATION}.bypassPaths"
        kept = [item for item in value if not fault_of(path, [item])]
        for item in value:
            if item not in kept:
                self.report.impossible(
                    place, f"{name}[{item}]", "want an exact path, or one with a trailing /* below a folder"
                )
                self.spec.lost[path] = reasons.NOT_CARRIED
        if kept:
            self.spec.carry(path, kept, place, name, row)

    def derived(self) -> None:
        """Adds what follows from the keys: who Keycloak is, its keys, its credentials, the audience of the SVID."""
        place = self.namespace.places.get("TOKEN_URL", f"ConfigMap {self.namespace.name}/{CONFIG}")
        values, token_url = self.spec.values, self.spec.values.get(f"{EXCHANGE}.tokenUrl", "")
        base, found, rest = token_url.partition("/realms/")
        if found and f"{KEYCLOAK}.url" not in values:
            self.spec.derive(f"{KEYCLOAK}.url", base, place, "TOKEN_URL (server)", "its path names server and realm")
        if found and f"{KEYCLOAK}.realm" not in values:
            self.spec.derive(
                f"{KEYCLOAK}.realm", rest.partition("/")[0], place, "TOKEN_URL (realm)", "its path names the realm"
            )
        if token_url.endswith("/token") and f"{VALIDATION}.jwksUrl" not in values:
            keys_url = f"{token_url.removesuffix('/token')}/certs"
            self.spec.derive(
                f"{VALIDATION}.jwksUrl", keys_url, place, "TOKEN_URL (keys)", "the processor read the keys there"
            )
        if f"{KEYCLOAK}.url" in values:
            why = "who names the server names the credentials; the Secret must be in this namespace"
            path = f"{KEYCLOAK}.adminCredentialsSecret"
            self.spec.derive(path, ADMIN_SECRET, f"Secret {self.namespace.name}/{ADMIN_SECRET}", "name", why)
            self._admin_secret()
        if self.namespace.jwt_audience and not self.old.era.consolidated:
            self._jwt_audience(
                f"ConfigMap {self.namespace.name}/spiffe-helper-config", "jwt_audience", self.namespace.jwt_audience
            )

    def _jwt_audience(self, place: str, name: str, audience: str) -> None:
        """Takes the audience of the SVID, whose file has its entry already; one that no token can have stays behind."""
        path = "identity.spiffe.jwtAudience"
        fault = fault_of(path, audience)
        if fault:
            self.report.impossible(place, name, f"{path} cannot be {quoted(audience)}: {fault}")
            self.spec.lost[path] = reasons.NOT_CARRIED
        else:
            self.spec.values[path] = audience

    def _admin_secret(self) -> None:
        name = f"Secret {self.namespace.name}/{ADMIN_SECRET}"
        if self.old.era.registration == "optsOut" and self.old.era.target == "pods":
            return  # the old registration read the same Secret
        message = "must exist with KEYCLOAK_ADMIN_USERNAME and KEYCLOAK_ADMIN_PASSWORD before a pod is restarted"
        self.report.warn(reasons.ADMIN_SECRET, name, message)


_NEVER_WORKED: Final = "the old processor was not told to use the SVID, so no exchange succeeded by it; here it does"


def _scopes(text: str) -> JSON:
    return list(dict.fromkeys(text.split()))


def _clients(text: str) -> JSON:
    return [part.strip() for part in text.split(",") if part.strip()]


_CONVERTED: Final[Mapping[str, Callable[[str], JSON]]] = {
    "TARGET_SCOPES": _scopes,
    "PLATFORM_CLIENT_IDS": _clients,
    "KEYCLOAK_TOKEN_EXCHANGE_ENABLED": lambda text: _BOOLEANS.get(text.strip().lower()),
    "KEYCLOAK_AUDIENCE_SCOPE_ENABLED": lambda text: _BOOLEANS.get(text.strip().lower()),
    "DEFAULT_OUTBOUND_POLICY": lambda text: _POLICIES.get(text.strip()),
}

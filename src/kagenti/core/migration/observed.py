"""What kagenti makes of a pod, in the fields of the old webhook's model: read off the sidecars as built, or off a live pod."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from kagenti.core.admission.evaluate import Evaluation
from kagenti.core.migration.chain import OldPod
from kagenti.core.migration.facts import CONTAINERS
from kagenti.core.migration.keys import INTERCEPTION, KEYCLOAK, REGISTRATION, VALIDATION
from kagenti.core.settings import values_for
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import Sidecars

JSON = Any  # a value of a field, or a container

_ENVIRONMENT: Final = {
    f"{KEYCLOAK}.url": "KEYCLOAK_URL",
    f"{KEYCLOAK}.realm": "KEYCLOAK_REALM",
    f"{REGISTRATION}.authType": "CLIENT_AUTH_TYPE",
    f"{REGISTRATION}.idpAlias": "SPIFFE_IDP_ALIAS",
    "clientName": "CLIENT_NAME",
}
_IMAGE_DEFAULTS: Final = {f"{KEYCLOAK}.platformClientIds": ["kagenti"], f"{REGISTRATION}.idpAlias": "spire-spiffe"}
"""What the registration image takes where a variable is missing (reference 1.3)."""


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
    found[f"{KEYCLOAK}.tokenExchangeEnabled"] = resolved.flag(f"{KEYCLOAK}.tokenExchangeEnabled")
    found[f"{KEYCLOAK}.adminCredentialsSecret"] = resolved.get(f"{KEYCLOAK}.adminCredentialsSecret")
    if container is not None:
        env = _literals(container)
        found |= {path: _literal(env.get(name)) for path, name in _ENVIRONMENT.items()}
        found[f"{KEYCLOAK}.tokenExchangeEnabled"] = env.get("KEYCLOAK_TOKEN_EXCHANGE_ENABLED") == "true"
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

"""Volumes and file contents of the injected containers: downward API, memory, projected tokens.

No ConfigMap, and no Secret but the one that ``credentialsSecret`` names.
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from kagenti.core import envoy
from kagenti.core.installation import Installation
from kagenti.core.settings.federated import by_service_account
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars.containers import REGISTRATION, Plan, config_volume
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a volume as Kubernetes knows it

_READABLE: Final = 0o444
# The kubelet writes Secrets as root:root, and the pod's fsGroup, which would change that, is not ours to set: with 0440
# neither Envoy (1337) nor the processor could read the credentials. They are mounted in our container alone.
_SECRET_MODE: Final = 0o444
_TOKEN_MODE: Final = 0o444
_TOKEN_SECONDS: Final = 3600
_RULES: Final = "identity.outbound.tokenExchange.destinationRules"
_CONFIG_FILES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    wellknown.SPIFFE_HELPER: (("helper.conf", wellknown.HELPER_CONFIG_ANNOTATION),),
    wellknown.ENVOY_PROXY: (
        ("envoy.yaml", wellknown.ENVOY_CONFIG_ANNOTATION),
        ("sds-token.yaml", wellknown.SDS_TOKEN_ANNOTATION),
    ),
    "authproxy": (("routes.yaml", wellknown.ROUTES_ANNOTATION),),
}

RESERVED: Final = frozenset(
    {
        *(config_volume(name) for name in _CONFIG_FILES),
        wellknown.SVID_VOLUME,
        wellknown.SHARED_VOLUME,
        wellknown.WORKLOAD_API_VOLUME,
        wellknown.TOKEN_VOLUME,
    }
)
"""Names of every volume that any layout mounts: the ones that nobody else may use."""


def volumes(plan: Plan, mounted: set[str]) -> list[dict[str, JSON]]:
    """Returns the volumes that the containers mount, and no other."""
    made = [_config(name) for name in _CONFIG_FILES]
    made += [
        _memory(wellknown.SVID_VOLUME),
        _shared(plan.settings),
        _workload_api(plan.settings),
        _tokens(plan.settings),
    ]
    return [volume for volume in made if volume["name"] in mounted]


def files(plan: Plan, mounted: set[str], *, installation: Installation) -> dict[str, str]:
    """Returns annotation → content for the configuration volumes that are mounted."""
    contents = {}
    if config_volume(wellknown.SPIFFE_HELPER) in mounted:
        contents[wellknown.HELPER_CONFIG_ANNOTATION] = helper_conf(plan.settings)
    if config_volume(wellknown.ENVOY_PROXY) in mounted:
        bootstrap = envoy.bootstrap(plan.settings, plan.values, installation=installation)
        contents[wellknown.ENVOY_CONFIG_ANNOTATION] = orjson.dumps(bootstrap).decode()
        contents[wellknown.SDS_TOKEN_ANNOTATION] = orjson.dumps(envoy.sds_token()).decode()
    if config_volume("authproxy") in mounted:
        contents[wellknown.ROUTES_ANNOTATION] = orjson.dumps(routes(plan.settings)).decode()
    return contents


def _config(name: str) -> dict[str, JSON]:
    items = [
        {"path": path, "fieldRef": {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{key}']"}}
        for path, key in _CONFIG_FILES[name]
    ]
    return {"name": config_volume(name), "downwardAPI": {"items": items, "defaultMode": _READABLE}}


def _memory(name: str) -> dict[str, JSON]:
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}


def _shared(settings: ResolvedSettings) -> dict[str, JSON]:
    """Client id and secret: written by the registration, or the Secret that the user names."""
    secret = settings.text(f"{REGISTRATION}.credentialsSecret")
    if not secret:
        return _memory(wellknown.SHARED_VOLUME)
    return {"name": wellknown.SHARED_VOLUME, "secret": {"secretName": secret, "defaultMode": _SECRET_MODE}}


def _workload_api(settings: ResolvedSettings) -> dict[str, JSON]:
    name = wellknown.WORKLOAD_API_VOLUME
    if settings.text("identity.spiffe.source") == "CSI":
        return {"name": name, "csi": {"driver": "csi.spiffe.io", "readOnly": True}}
    folder = settings.text("identity.spiffe.socketPath").removeprefix("unix://").rpartition("/")[0]
    return {"name": name, "hostPath": {"path": folder or "/", "type": "Directory"}}


def _tokens(settings: ResolvedSettings) -> dict[str, JSON]:
    """Projected service-account tokens: for xDS, and for the issuer where the client authenticates by one."""
    audiences = {"xds-token": wellknown.XDS_AUDIENCE}
    if by_service_account(settings.values):
        audiences["idp-token"] = settings.text("identity.inbound.validation.issuer")
    sources = [
        {"serviceAccountToken": {"audience": audience, "expirationSeconds": _TOKEN_SECONDS, "path": path}}
        for path, audience in audiences.items()
    ]
    return {"name": wellknown.TOKEN_VOLUME, "projected": {"sources": sources, "defaultMode": _TOKEN_MODE}}


def helper_conf(settings: ResolvedSettings) -> str:
    """Returns spiffe-helper's HCL; values are JSON strings, which HCL reads alike (reference section 5)."""
    socket = "spire-agent.sock"
    if settings.text("identity.spiffe.source") == "HostPath":
        socket = settings.text("identity.spiffe.socketPath").rpartition("/")[2]
    lines = {
        "agent_address": f"/spiffe-workload-api/{socket}",
        "cmd": "",
        "cmd_args": "",
        "svid_file_name": "/opt/svid.pem",
        "svid_key_file_name": "/opt/svid_key.pem",
        "svid_bundle_file_name": "/opt/svid_bundle.pem",
    }
    audience = _hcl(settings.text("identity.spiffe.jwtAudience"))
    modes = {"cert_file_mode": "0640", "key_file_mode": "0640", "jwt_svid_file_mode": "0640"}
    text = [f"{key} = {_hcl(value)}" for key, value in lines.items()]
    text += [f"{key} = {value}" for key, value in modes.items()]
    text.append(f'jwt_svids = [{{jwt_audience={audience}, jwt_svid_file_name="/opt/jwt_svid.token"}}]')
    return "\n".join(text) + "\n"


def _hcl(value: str) -> str:
    """Returns a string of HCL 1, where a quote after ``${`` ends nothing (hashicorp/hcl v1, scanner.scanString)."""
    return orjson.dumps(value).decode().replace("${", "\\u0024{")


def routes(settings: ResolvedSettings) -> list[dict[str, JSON]]:
    """Returns the go-processor's routes; a suffix becomes ``**.suffix`` (reference section 3.5)."""
    found = []
    for rule in settings.items(_RULES):
        host = rule["match"]["host"]
        entry: dict[str, JSON] = {"host": f"**{host[1:]}" if host.startswith("*.") else host}
        if (rule.get("action") or "Exchange") == "Exchange":
            target = rule.get("target") or {}
            entry |= {
                "target_audience": target.get("audience", ""),
                "token_scopes": " ".join(target.get("scopes") or ()),
            }
            if target.get("tokenUrl"):
                entry["token_url"] = target["tokenUrl"]
        else:
            entry |= {"passthrough": True, "action": "passthrough"}
        found.append(entry)
    return found

"""The injected containers, one builder each. Every field that the API server would default is spelled out.

So a pod that is read back and admitted again is recognised field by field (spec 04, "Presence proves nothing").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.federated import by_service_account
from kagenti.core.settings.model import ResolvedSettings
from kagenti.core.sidecars import scripts
from kagenti.core.sidecars.environment import env_literal
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a container, volume or env entry as Kubernetes knows it

INTERCEPTION: Final = "identity.outbound.trafficInterception"
REGISTRATION: Final = "identity.clientRegistration"
EXCHANGE: Final = "identity.outbound.tokenExchange"
VALIDATION: Final = "identity.inbound.validation"
_TERMINATION: Final = {"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
_WORKLOAD_API: Final = "/spiffe-workload-api"
_TOKENS: Final = "/var/run/secrets/kagenti"  # a folder, not a password
_NODE: Final = "$(POD_NAMESPACE)/$(POD_NAME)/$(POD_UID)"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the builders read: settings, the workload's values, and the ports that are left alone."""

    settings: ResolvedSettings
    values: WorkloadValues
    outbound_excluded: Sequence[int]
    inbound_excluded: Sequence[int]

    def on(self, path: str) -> bool:
        """Whether a boolean setting is true."""
        return self.settings.flag(path)


def _container(plan: Plan, component: str, name: str, **fields: JSON) -> dict[str, JSON]:
    base = f"components.{component}"
    resources: dict[str, dict[str, str]] = {}
    for kind in ("requests", "limits"):
        amounts = {key: plan.settings.text(f"{base}.resources.{kind}.{key}") for key in ("cpu", "memory")}
        resources[kind] = {key: value for key, value in amounts.items() if value}
    return {
        "name": name,
        "image": plan.settings.text(f"{base}.image"),
        "imagePullPolicy": plan.settings.text(f"{base}.imagePullPolicy"),
        **fields,
        "resources": {kind: amounts for kind, amounts in resources.items() if amounts},
        **_TERMINATION,
    }


def _hardened(user: int, group: int) -> dict[str, JSON]:
    return {
        "runAsUser": user,
        "runAsGroup": group,
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _literals(values: Mapping[str, str]) -> list[dict[str, JSON]]:
    """Returns env entries of values that are already env values; empty ones count as missing (reference 1.3)."""
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _field(name: str, path: str) -> dict[str, JSON]:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def _mount(name: str, path: str, *, read_only: bool = False) -> dict[str, JSON]:
    return {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}


def config_volume(name: str) -> str:
    """Returns the name of a container's configuration volume."""
    return f"{wellknown.CONFIG_VOLUME_PREFIX}{name}"


def _probe(action: Mapping[str, JSON], *, period: int, failures: int) -> dict[str, JSON]:
    return {**action, "timeoutSeconds": 1, "periodSeconds": period, "successThreshold": 1, "failureThreshold": failures}


def spiffe_helper(plan: Plan) -> dict[str, JSON]:
    """Keeps SVIDs under /opt (reference: authbridge-contract section 1.2)."""
    return _container(
        plan,
        "spiffeHelper",
        wellknown.SPIFFE_HELPER,
        command=["/spiffe-helper", "-config=/etc/spiffe-helper/helper.conf", "run"],
        restartPolicy="Always",
        securityContext=_hardened(wellknown.HELPER_USER, wellknown.HELPER_GROUP),
        volumeMounts=[
            _mount(config_volume(wellknown.SPIFFE_HELPER), "/etc/spiffe-helper", read_only=True),
            _mount(wellknown.WORKLOAD_API_VOLUME, _WORKLOAD_API, read_only=True),
            _mount(wellknown.SVID_VOLUME, "/opt"),
        ],
    )


def client_registration(plan: Plan) -> dict[str, JSON]:
    """Registers the OAuth client, visibly (reference: authbridge-contract section 1.3)."""
    ready = {"exec": {"command": ["test", "-f", "/shared/registered"]}}
    svid = [_mount(wellknown.SVID_VOLUME, "/opt", read_only=True)] if plan.on("identity.spiffe.enabled") else []
    return _container(
        plan,
        "clientRegistration",
        wellknown.CLIENT_REGISTRATION,
        command=["/bin/sh", "-c", scripts.REGISTER],
        env=_registration_env(plan),
        restartPolicy="Always",
        readinessProbe=_probe(ready, period=5, failures=3),
        securityContext=_hardened(wellknown.HELPER_USER, wellknown.HELPER_GROUP),
        volumeMounts=[*svid, _mount(wellknown.SHARED_VOLUME, "/shared")],
    )


def _registration_env(plan: Plan) -> list[dict[str, JSON]]:
    keycloak, settings = f"{REGISTRATION}.keycloak", plan.settings
    secret = settings.text(f"{keycloak}.adminCredentialsSecret")
    literal = {
        "SPIRE_ENABLED": "true" if plan.on("identity.spiffe.enabled") else "false",
        "CLIENT_NAME": plan.values.client_name,  # an env value already: $(POD_NAME) is meant
        "KEYCLOAK_URL": env_literal(settings.text(f"{keycloak}.url")),
        "KEYCLOAK_REALM": env_literal(settings.text(f"{keycloak}.realm")),
        "KEYCLOAK_TOKEN_EXCHANGE_ENABLED": "true" if plan.on(f"{keycloak}.tokenExchangeEnabled") else "false",
        "PLATFORM_CLIENT_IDS": env_literal(",".join(settings.items(f"{keycloak}.platformClientIds"))),
        "CLIENT_AUTH_TYPE": settings.text(f"{REGISTRATION}.authType"),
        "SPIFFE_IDP_ALIAS": env_literal(settings.text(f"{REGISTRATION}.idpAlias")),
        "SECRET_FILE_PATH": "/shared/client-secret.txt",
        "ADMIN_SECRET": env_literal(secret),
    }
    credentials = [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, "optional": True}}}
        for key in ("KEYCLOAK_ADMIN_USERNAME", "KEYCLOAK_ADMIN_PASSWORD")
    ]
    return [_field("POD_NAME", "metadata.name"), *_literals(literal), *credentials]


def envoy_proxy(plan: Plan) -> dict[str, JSON]:
    """Envoy; ready once the first snapshot is applied (spec 04, order contract).

    With AuthBridge our own script starts processor and Envoy: the image's entrypoint gives every pod one node id.
    """
    uid = plan.settings.number(f"{INTERCEPTION}.proxyUid")
    ready = {"httpGet": {"path": "/ready", "port": wellknown.STATUS_PORT, "scheme": "HTTP"}}
    ports = [
        ("envoy-outbound", plan.settings.number(f"{INTERCEPTION}.proxyPort")),
        ("envoy-inbound", plan.settings.number(f"{INTERCEPTION}.inboundProxyPort")),
        ("envoy-status", wellknown.STATUS_PORT),
    ]
    bridge = plan.settings.text("injection.tokenExchange") == "AuthBridge"
    if bridge:
        ports.append(("ext-proc", wellknown.PROCESSOR_PORT))
    return _container(
        plan,
        "envoyProxy",
        wellknown.ENVOY_PROXY,
        **({"command": ["/bin/sh", "-c", scripts.BRIDGE]} if bridge else {"args": _arguments()}),
        env=[*_node_env(), *(_bridge_env(plan) if bridge else ())],
        ports=[{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports],
        restartPolicy="Always",
        startupProbe=_probe(ready, period=1, failures=120),
        readinessProbe=_probe(ready, period=5, failures=3),
        # The group is the one that /opt and /shared are readable by, whatever user the proxy runs as.
        securityContext={**_hardened(uid, wellknown.HELPER_GROUP), "readOnlyRootFilesystem": False},
        volumeMounts=_envoy_mounts(plan, bridge=bridge),
    )


def _envoy_mounts(plan: Plan, *, bridge: bool) -> list[dict[str, JSON]]:
    mounts = [
        _mount(config_volume(wellknown.ENVOY_PROXY), "/etc/envoy", read_only=True),
        _mount(wellknown.TOKEN_VOLUME, _TOKENS, read_only=True),
    ]
    if plan.on("identity.enabled"):
        mounts.append(_mount(wellknown.SHARED_VOLUME, "/shared", read_only=True))
        if plan.on("identity.spiffe.enabled"):
            mounts.append(_mount(wellknown.SVID_VOLUME, "/opt", read_only=True))
    if bridge:
        mounts.append(_mount(config_volume("authproxy"), "/etc/authproxy", read_only=True))
    return mounts


def _arguments() -> list[str]:
    # One worker: the cache of exchanged tokens is a worker's own, and the CPU limit is one. No hot restart: it wants a
    # writable /dev/shm, and a pod's Envoy is replaced with its pod.
    config = ["-c", "/etc/envoy/envoy.yaml", "--concurrency", "1", "--disable-hot-restart"]
    return [*config, "--service-cluster", "kagenti", "--service-node", _NODE, "--log-level", "warning"]


def _node_env() -> list[dict[str, JSON]]:
    return [
        _field("POD_NAMESPACE", "metadata.namespace"),
        _field("POD_NAME", "metadata.name"),
        _field("POD_UID", "metadata.uid"),
    ]


def _bridge_env(plan: Plan) -> list[dict[str, JSON]]:
    """Environment of the go-processor; all of it together, so that every tag behaves alike (reference 1.5)."""
    settings, keycloak = plan.settings, f"{REGISTRATION}.keycloak"
    literal = {
        "TOKEN_URL": settings.text(f"{EXCHANGE}.tokenUrl"),
        "ISSUER": settings.text(f"{VALIDATION}.issuer"),
        "EXPECTED_AUDIENCE": plan.values.audience,
        "KEYCLOAK_URL": settings.text(f"{keycloak}.url"),
        "KEYCLOAK_REALM": settings.text(f"{keycloak}.realm"),
        "TARGET_AUDIENCE": settings.text(f"{EXCHANGE}.defaultTarget.audience"),
        "TARGET_SCOPES": " ".join(settings.items(f"{EXCHANGE}.defaultTarget.scopes")),
        "CLIENT_ID_FILE": "/shared/client-id.txt",
        "CLIENT_SECRET_FILE": "/shared/client-secret.txt",
        "ROUTES_CONFIG_PATH": "/etc/authproxy/routes.yaml",
        "DEFAULT_OUTBOUND_POLICY": settings.text("identity.outbound.defaultPolicy").lower(),
        "SPIRE_ENABLED": "true" if settings.text(f"{REGISTRATION}.authType") == "federated-jwt" else "false",
        "JWT_SVID_PATH": f"{_TOKENS}/idp-token" if by_service_account(settings.values) else "",
    }
    return _literals({"NODE_ID": _NODE, **{name: env_literal(value) for name, value in literal.items()}})


def proxy_init(plan: Plan) -> dict[str, JSON]:
    """Redirects the pod's traffic, by our own script in that image (spec 04, Interception)."""
    return _container(
        plan,
        "proxyInit",
        wellknown.PROXY_INIT,
        command=["/bin/sh", "-c", scripts.INTERCEPT],
        env=_interception_env(plan),
        securityContext={
            "runAsUser": 0,
            "runAsGroup": 0,
            "runAsNonRoot": False,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": False,
            "capabilities": {"add": ["NET_ADMIN", "NET_RAW"], "drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    )


def _interception_env(plan: Plan) -> list[dict[str, JSON]]:
    settings = plan.settings
    literal = {
        "PROXY_PORT": str(settings.number(f"{INTERCEPTION}.proxyPort")),
        "INBOUND_PROXY_PORT": str(settings.number(f"{INTERCEPTION}.inboundProxyPort")),
        "PROXY_UID": str(settings.number(f"{INTERCEPTION}.proxyUid")),
        "HELPER_UID": str(wellknown.HELPER_USER),
        "HELPER_GID": str(wellknown.HELPER_GROUP),
        "STATUS_PORT": str(wellknown.STATUS_PORT),
        "INTERCEPT_INBOUND": "true" if plan.on("identity.enabled") and plan.on("identity.inbound.enabled") else "false",
        "OUTBOUND_PORTS_EXCLUDE": ",".join(map(str, plan.outbound_excluded)),
        "INBOUND_PORTS_EXCLUDE": ",".join(map(str, plan.inbound_excluded)),
    }
    # An empty value would be dropped by the API server, and the script treats both alike.
    env = [{"name": name, **({"value": value} if value else {})} for name, value in literal.items()]
    return [*env, _field("POD_IPS", "status.podIPs")]

"""Old installations, one complete example for each era, written from the tables of the reference: for the unit and e2e suites."""

from collections.abc import Sequence
from typing import Any

JSON = Any  # a manifest

REALM_URL = "http://sso.idp.svc:8080/realms/acme"
TOKEN_URL = f"{REALM_URL}/protocol/openid-connect/token"
ISSUER = "https://sso.acme.example/realms/acme"
TRUST_DOMAIN = "prod.acme.example"
PREFIX = "ghcr.io/kagenti/kagenti-extensions"

GATES = """\
clientRegistration: true
combinedSidecar: false
envoyProxy: true
globalEnabled: true
injectTools: true
perWorkloadConfigResolution: false
spiffeHelper: true
"""


def defaults(tag: str, spiffe_helper: str = f"{PREFIX}/spiffe-helper:v0.4.0-alpha.13") -> str:
    """The platform values of E2, images pinned to one tag; spiffe-helper had its own."""
    return f"""\
images:
  authbridge: {PREFIX}/authbridge:{tag}
  clientRegistration: {PREFIX}/client-registration:{tag}
  envoyProxy: {PREFIX}/envoy-with-processor:{tag}
  proxyInit: {PREFIX}/proxy-init:{tag}
  pullPolicy: IfNotPresent
  spiffeHelper: {spiffe_helper}
proxy: {{adminPort: 9901, inboundProxyPort: 15124, port: 15123, uid: 1337}}
resources:
  authbridge: {{requests: {{cpu: 100m, memory: 128Mi}}, limits: {{cpu: 300m, memory: 384Mi}}}}
  clientRegistration: {{requests: {{cpu: 50m, memory: 64Mi}}, limits: {{cpu: 100m, memory: 128Mi}}}}
  envoyProxy: {{requests: {{cpu: 75m, memory: 96Mi}}, limits: {{cpu: 250m, memory: 320Mi}}}}
  proxyInit: {{requests: {{cpu: 10m, memory: 10Mi}}, limits: {{cpu: 10m, memory: 10Mi}}}}
  spiffeHelper: {{requests: {{cpu: 50m, memory: 64Mi}}, limits: {{cpu: 100m, memory: 128Mi}}}}
sidecars: {{clientRegistration: {{enabled: true}}, envoyProxy: {{enabled: true}}, spiffeHelper: {{enabled: true}}}}
"""


CONSOLIDATED = f"""\
images:
  authbridge: {PREFIX}/authbridge:v0.6.0-alpha.7
  authbridgeLite: {PREFIX}/authbridge-lite:v0.6.0-alpha.7
  envoyProxy: {PREFIX}/authbridge-envoy:v0.6.0-alpha.7
  proxyInit: {PREFIX}/proxy-init:v0.6.0-alpha.7
  pullPolicy: IfNotPresent
proxy: {{port: 15123, inboundProxyPort: 15124, transparentPort: 8082, uid: 1337, iptablesCmd: ""}}
resources:
  envoyProxy: {{requests: {{cpu: 75m, memory: 96Mi}}, limits: {{cpu: 250m, memory: 320Mi}}}}
"""
CONSOLIDATED_GATES = "globalEnabled: true\nenvoyProxy: true\ninjectTools: false\nskillDiscovery: false\n"

RUNTIME = f"""\
mode: envoy-sidecar
spiffe: {{}}
pipeline:
  inbound:
    plugins:
    - name: jwt-validation
      config:
        issuer: "{ISSUER}"
        keycloak_url: "http://sso.idp.svc:8080"
        keycloak_realm: acme
        bypass_paths: [/healthz, "/.well-known/*"]
  outbound:
    plugins:
    - name: token-exchange
      config:
        keycloak_url: "http://sso.idp.svc:8080"
        keycloak_realm: acme
        default_policy: passthrough
        no_token_policy: client-credentials
        identity: {{type: client-secret}}
"""

ROUTES = """\
- host: "catalog.tools.svc.cluster.local"
  target_audience: catalog
  token_scopes: "openid catalog-aud catalog-read"
- host: "**.telemetry.svc.cluster.local"
  passthrough: true
  action: passthrough
"""

HELPER = f"""\
agent_address = "/spiffe-workload-api/spire-agent.sock"
cmd = ""
cmd_args = ""
svid_file_name = "/opt/svid.pem"
svid_key_file_name = "/opt/svid_key.pem"
svid_bundle_file_name = "/opt/svid_bundle.pem"
cert_file_mode = 0644
key_file_mode = 0640
jwt_svids = [{{jwt_audience="{ISSUER}", jwt_svid_file_name="/opt/jwt_svid.token"}}]
jwt_svid_file_mode = 0640
"""

LUA = "function envoy_on_request(h) h:headers():add('x-authbridge-direction', 'inbound') end"
ENVOY = f"""\
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 9901}}}}}}
static_resources:
  listeners:
  - {{name: outbound_listener, address: {{socket_address: {{address: 0.0.0.0, port_value: 15123}}}}}}
  - name: inbound_listener
    address: {{socket_address: {{address: 0.0.0.0, port_value: 15124}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          http_filters:
          - {{name: envoy.filters.http.lua, typed_config: {{default_source_code: {{inline_string: "{LUA}"}}}}}}
          - {{name: envoy.filters.http.ext_proc}}
          - {{name: envoy.filters.http.router}}
  clusters:
  - {{name: original_destination, type: ORIGINAL_DST}}
  - {{name: ext_proc_cluster, type: STATIC}}
"""
UNMARKED = ENVOY.replace("default_source_code", "source_codes").replace("inbound'", "'")
"""An envoy.yaml whose Lua does not mark inbound requests, so that the processor skipped validation."""

AUTHBRIDGE = {
    "KEYCLOAK_URL": "http://sso.idp.svc:8080",
    "KEYCLOAK_REALM": "acme",
    "ISSUER": ISSUER,
    "TOKEN_URL": TOKEN_URL,
    "TARGET_AUDIENCE": "tools",
    "TARGET_SCOPES": "openid tools-aud",
    "DEFAULT_OUTBOUND_POLICY": "passthrough",
    "PLATFORM_CLIENT_IDS": "kagenti,portal",
    "SPIRE_ENABLED": "true",
}


def config_map(namespace: str, name: str, **data: str) -> JSON:
    """A ConfigMap; ``_`` in a key stands for itself, the dot of a file name is given by ``**``."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def namespace(name: str, label: str = "kagenti-enabled") -> JSON:
    """An agent namespace of the old platform chart, with the label of its era."""
    labels = {label: "true", "istio.io/dataplane-mode": "ambient", "kubernetes.io/metadata.name": name}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def in_namespace(name: str, *, config: dict[str, str] | None = None, routes: str = ROUTES) -> list[JSON]:
    """The ConfigMaps of an agent namespace as the platform chart and the UI wrote them."""
    return [
        config_map(name, "authbridge-config", **(AUTHBRIDGE if config is None else config)),
        config_map(name, "authproxy-routes", **{"routes.yaml": routes}),
        config_map(name, "spiffe-helper-config", **{"helper.conf": HELPER}),
        config_map(name, "envoy-config", **{"envoy.yaml": ENVOY}),
    ]


def webhook(namespace_of_service: str, *, workloads: bool = False) -> JSON:
    """The old webhook's configuration, as far as a migration reads it; its service answers nobody."""
    resources = ["deployments", "statefulsets", "daemonsets", "jobs", "cronjobs"] if workloads else ["pods"]
    service = {
        "namespace": namespace_of_service,
        "name": "kagenti-webhook-webhook-service",
        "path": "/mutate-workloads-authbridge",
    }
    hook = {
        "name": "inject.kagenti.io",
        "clientConfig": {"service": service},
        "rules": [
            {
                "apiGroups": ["apps", "batch"] if workloads else [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": resources,
            }
        ],
        "failurePolicy": "Ignore",  # Fail in the chart; here nobody serves it
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": 1,
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "kagenti-webhook-authbridge-mutating-webhook-configuration"},
        "webhooks": [hook],
    }


def agent(
    name: str, place: str, *, labels: dict[str, str], kind: str = "Deployment", account: str = "", **spec: JSON
) -> JSON:
    """A workload with labels on its pod template; its service account is called as it is, as the old webhook had it."""
    template = {
        "metadata": {"labels": {"app": name, **labels}},
        "spec": {
            "serviceAccountName": account or name,
            "containers": [
                {"name": "agent", "image": f"registry.example/{name}:3", "ports": [{"containerPort": 8000}]}
            ],
            **spec,
        },
    }
    selector = {"matchLabels": {"app": name}}
    body: JSON = {"replicas": 1, "selector": selector, "template": template}
    if kind == "StatefulSet":
        body["serviceName"] = name
    metadata = {"name": name, "namespace": place, "labels": {"app": name}}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": body}


def stored_sidecars(workload: JSON) -> JSON:
    """The workload as the webhook of E1 stored it: its sidecars, volumes and group inside the template (reference 1.10)."""
    spec = workload["spec"]["template"]["spec"]
    mounts = [{"name": "shared-data", "mountPath": "/shared"}]
    spec["initContainers"] = [
        *(spec.get("initContainers") or []),
        {
            "name": "proxy-init",
            "image": f"{PREFIX}/proxy-init:latest",
            "securityContext": {"runAsUser": 0, "privileged": True},
        },
    ]
    spec["containers"] += [
        {
            "name": "envoy-proxy",
            "image": f"{PREFIX}/envoy-with-processor:latest",
            "volumeMounts": [{"name": "envoy-config", "mountPath": "/etc/envoy"}, *mounts],
        },
        {
            "name": "spiffe-helper",
            "image": "ghcr.io/spiffe/spiffe-helper:nightly",
            "volumeMounts": [{"name": "svid-output", "mountPath": "/opt"}, *mounts],
        },
        {
            "name": "kagenti-client-registration",
            "image": f"{PREFIX}/client-registration:latest",
            "volumeMounts": mounts,
        },
    ]
    spec["securityContext"] = {"fsGroup": 0}
    spec["volumes"] = [
        {"name": "shared-data", "emptyDir": {}},
        {"name": "spire-agent-socket", "csi": {"driver": "csi.spiffe.io", "readOnly": True}},
        {"name": "spiffe-helper-config", "configMap": {"name": "spiffe-helper-config"}},
        {"name": "svid-output", "emptyDir": {}},
        {"name": "envoy-config", "configMap": {"name": "envoy-config"}},
        {"name": "authproxy-routes", "configMap": {"name": "authproxy-routes", "optional": True}},
    ]
    return workload


AGENT = {"kagenti.io/type": "agent"}
ENVIRONMENTS = {
    "KEYCLOAK_URL": "http://sso.idp.svc:8080",
    "KEYCLOAK_REALM": "acme",
    "SPIRE_ENABLED": "true",
    "PLATFORM_CLIENT_IDS": "kagenti,portal",
    "KEYCLOAK_ADMIN_USERNAME": "registrar",
    "KEYCLOAK_ADMIN_PASSWORD": "change-me",
}


def _e1(place: str, labels: dict[str, str], environments: dict[str, str]) -> list[JSON]:
    rest = {key: value for key, value in AUTHBRIDGE.items() if key not in environments}
    return [
        namespace(place),
        config_map(place, "environments", **environments, ollama='[{"name":"LLM_API_BASE"}]'),
        *in_namespace(place, config=rest),
        webhook("kagenti-webhook-system", workloads=True),
        stored_sidecars(agent("forecast", place, labels={**AGENT, **labels})),
        stored_sidecars(agent("ledger", place, labels={**AGENT, **labels}, kind="StatefulSet")),
    ]


def _maps(place: str, names: tuple[str, str], gates: str, platform: str) -> list[JSON]:
    return [
        config_map(place, names[0], **{"feature-gates.yaml": gates}),
        config_map(place, names[1], **{"config.yaml": platform}),
    ]


E2_NAMES = ("kagenti-webhook-feature-gates", "kagenti-webhook-defaults")
E3_NAMES = ("kagenti-feature-gates", "kagenti-platform-config")
E5_NAMES = ("rossoctl-feature-gates", "rossoctl-platform-config")


def _e2(place: str, platform: str, gates: str, labels: dict[str, str]) -> list[JSON]:
    return [
        namespace(place),
        *_maps("kagenti-webhook-system", E2_NAMES, gates, platform),
        *in_namespace(place),
        webhook("kagenti-webhook-system"),
        agent("forecast", place, labels={**AGENT, "kagenti.io/inject": "enabled", **labels}),
        agent("ledger", place, labels={**AGENT, **labels}, kind="StatefulSet"),
        agent("out", place, labels={**AGENT, "kagenti.io/inject": "disabled"}),
    ]


def _e4(place: str, where: str, names: tuple[str, str], prefix: str) -> list[JSON]:
    return [
        namespace(place, "rossoctl-enabled" if prefix == "rossoctl.io/" else "kagenti-enabled"),
        *_maps(where, names, CONSOLIDATED_GATES, CONSOLIDATED),
        *in_namespace(place),
        config_map(place, "authbridge-runtime-config", **{"config.yaml": RUNTIME}),
        webhook(where),
        agent("forecast", place, labels={f"{prefix}type": "agent"}),
        agent("ledger", place, labels={f"{prefix}type": "agent"}, kind="StatefulSet"),
    ]


def example(era: str, place: str) -> list[JSON]:
    """Returns every object of an old installation of that era, with its agents in one namespace."""
    early = {key: value for key, value in ENVIRONMENTS.items() if "ADMIN" not in key}
    before = defaults("v0.4.0-alpha.9", "ghcr.io/spiffe/spiffe-helper:0.11.0")
    before = "".join(line for line in before.splitlines(keepends=True) if not line.startswith("  authbridge:"))
    late = GATES.replace("combinedSidecar: false\n", "").replace("perWorkloadConfigResolution: false\n", "")
    made = {
        "E1a": lambda: _e1(place, {"kagenti.io/inject": "enabled", "kagenti.io/spire": "enabled"}, ENVIRONMENTS),
        "E1b": lambda: _e1(place, {}, early),
        "E1c": lambda: _e1(place, {"kagenti.io/inject": "enabled"}, early),
        "E2a": lambda: _e2(place, before, late, {}),
        "E2b": lambda: _e2(
            place, defaults("v0.4.0-alpha.13"), GATES, {"kagenti.io/client-registration-inject": "true"}
        ),
        "E3": lambda: [
            namespace(place),
            *_maps("kagenti-system", E3_NAMES, GATES, defaults("v0.5.0-alpha.2")),
            *in_namespace(place),
            webhook("kagenti-system"),
            agent("forecast", place, labels=AGENT),
            agent("ledger", place, labels=AGENT, kind="StatefulSet"),
        ],
        "E4": lambda: _e4(place, "kagenti-system", E3_NAMES, "kagenti.io/"),
        "E5": lambda: _e4(place, "rossoctl-system", E5_NAMES, "rossoctl.io/"),
    }
    return made[era]()


def of_kind(objects: Sequence[JSON], *kinds: str) -> list[JSON]:
    """Returns the objects of these kinds."""
    return [found for found in objects if found["kind"] in kinds]

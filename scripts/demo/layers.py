"""What the demo applies: the layers, and the weather agent in three ways."""

from typing import Any

from tests.e2e.admission.manifests import config, runtime, workload

JSON = Any  # a Kubernetes object as a user writes it

NAMESPACE, REALM, TRUST_DOMAIN = "team1", "team1", "prod.example.org"
BY_LABEL, BY_RUNTIME, UNTOUCHED = "weather-by-label", "weather-by-runtime", "weather-untouched"
WAYS = {
    BY_LABEL: "label on the pod template",
    BY_RUNTIME: "clean workload + AgentRuntime",
    UNTOUCHED: "neither",
}
SCOPES = {BY_LABEL: "agent:invoke", BY_RUNTIME: "weather:read"}
"""What a caller must be allowed: by the namespace's config, and by the AgentRuntime's own."""


def client_id(name: str) -> str:
    """Returns the client of a workload at the identity provider, which is also its audience ``self``."""
    return f"spiffe://{TRUST_DOMAIN}/ns/{NAMESPACE}/sa/{name}"


def cluster_config(keycloak: str) -> JSON:
    """The cluster layer; ``keycloak`` is the URL of the identity provider, empty for the built-in one."""
    identity: JSON = {"spiffe": {"trustDomain": TRUST_DOMAIN}}
    if keycloak:
        identity["clientRegistration"] = {"keycloak": {"url": keycloak}}
    return {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntimeClusterConfig",
        "metadata": {"name": "default"},
        "spec": {"identity": identity},
    }


def namespace_config(*, audience: str = "") -> JSON:
    """The namespace layer; ``audience`` empty leaves each workload its own client id."""
    validation = {"requiredScopes": [SCOPES[BY_LABEL]], **({"audience": audience} if audience else {})}
    identity = {"clientRegistration": {"keycloak": {"realm": REALM}}, "inbound": {"validation": validation}}
    return config(NAMESPACE, identity=identity, trace={"sampling": {"rate": 0.25}})


def agent_runtime(name: str, *, outbound: JSON = None) -> JSON:
    """The AgentRuntime of a Deployment: that of the clean one has a scope and a rate of its own."""
    spec: JSON = {}
    if name == BY_RUNTIME:
        spec = {
            "type": "agent",
            "identity": {"inbound": {"validation": {"requiredScopes": [SCOPES[BY_RUNTIME]]}}},
            "trace": {"sampling": {"rate": 1.0}},
        }
    if outbound:
        spec["identity"] = {**spec.get("identity", {}), "outbound": outbound}
    return runtime(NAMESPACE, name, kind="Deployment", target=name, **spec)


def everything(keycloak: str) -> list[JSON]:
    """Returns all manifests in their order: the AgentRuntime comes before its Deployment."""
    marks = {"kagenti.io/inject": "enabled", "kagenti.io/type": "agent"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": NAMESPACE, "labels": {"kagenti.io/enrolled": "true"}},
        },
        cluster_config(keycloak),
        namespace_config(),
        *(_account(name) for name in WAYS),
        agent_runtime(BY_RUNTIME),
        _deployment(BY_LABEL, marks),
        _deployment(BY_RUNTIME, {}),
        _deployment(UNTOUCHED, {}),
    ]


def _account(name: str) -> JSON:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}}


def _deployment(name: str, labels: dict[str, str]) -> JSON:
    manifest = workload("Deployment", NAMESPACE, name, labels=labels)
    manifest["spec"]["template"]["spec"]["serviceAccountName"] = name
    return manifest

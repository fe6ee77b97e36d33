"""Attempts across the namespace's boundary, at the layers that are the platform's, and from a lower layer upwards."""

import asyncio
from typing import Any

from tests.e2e.admission.effects import env
from tests.e2e.admission.manifests import config, pod, runtime
from tests.e2e.admission.observed import bare, injected
from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.installed import RELEASE_NAMESPACE
from tests.e2e.plane.ports import free_port
from tests.e2e.plane.waiting import wait_until
from tests.e2e.trust.tenants import (
    ADMIN,
    EDIT,
    EVIL,
    IDP,
    OTHER,
    PARTNER,
    RBAC,
    SPACES,
    STRICT,
    TEAM,
    Row,
    Tenancy,
    binding,
)
from tests.e2e.xds.streams import refusal
from tests.e2e.xds_process import Xds

JSON = Any  # a Kubernetes object as received

ADMISSION = "/apis/admissionregistration.k8s.io/v1"
FORBIDDEN = ("cannot",)
INJECT = ("webhook `inject-cr.kagenti.io`", "webhook `inject-label.kagenti.io`")
VALIDATE = "webhook `validate.kagenti.io`"
REGISTRATION = "kagenti-client-registration"


# --- the namespace is the boundary ---


def own_agent(tenancy: Tenancy, who: str) -> Answer:
    """A labelled pod."""
    answer = tenancy.pod(who, label="enabled")
    assert injected(answer.body)
    return answer


def own_runtime(tenancy: Tenancy, who: str) -> Answer:
    """An AgentRuntime, and what it makes of its pod."""
    answer = tenancy.pod_under(who, {})
    assert injected(answer.body)
    return answer


def foreign_runtime(tenancy: Tenancy, who: str) -> Answer:
    """An AgentRuntime in another team's namespace."""
    return tenancy.clients[who].create(runtime(OTHER, "theirs", kind="Pod", target="theirs"), dry_run=True)


def reaching_over(tenancy: Tenancy, who: str) -> Answer:
    """An AgentRuntime at home that names another namespace; the pod of that name over there stays as it is."""
    client, name = tenancy.clients[who], tenancy.name()
    made = runtime(TEAM, name, kind="Pod", target=name)
    made["spec"]["targetRef"]["namespace"] = OTHER
    answer = client.create(made)
    assert any("targetRef.namespace" in warning for warning in answer.warnings), answer.warnings
    assert bare(tenancy.platform.create(pod(OTHER, name), dry_run=True).body)
    assert injected(client.create(pod(TEAM, name), dry_run=True).body)
    client.delete("AgentRuntime", TEAM, name)
    return answer


def foreign_pod(tenancy: Tenancy, who: str) -> Answer:
    """A pod in another team's namespace."""
    return tenancy.pod(who, namespace=OTHER, label="enabled")


def foreign_secret(tenancy: Tenancy, who: str) -> Answer:
    """Another team's Secrets."""
    return tenancy.clients[who].request("GET", f"/api/v1/namespaces/{OTHER}/secrets")


def token(tenancy: Tenancy, who: str, namespace: str) -> Answer:
    """A token of a service account for our xDS server."""
    asked = {"spec": {"audiences": ["kagenti-xds"]}, "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
    return tenancy.clients[who].request("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token", asked)


def token_without_a_pod(tenancy: Tenancy, who: str) -> Answer:
    """Shown to the xDS server, whose sentence is the answer."""
    asked = token(tenancy, who, TEAM)
    assert asked.ok, asked.message
    xds = Xds(tenancy.installation, address="127.0.0.1", port=free_port(), replica=f"kagenti-xds-{who}")
    try:
        xds.start()
        metadata = tenancy.running["metadata"]
        node = f"{TEAM}/weather/{metadata['uid']}"
        said = asyncio.run(refusal(xds, asked.body["status"]["token"], node=node))
    finally:
        xds.stop()
    return Answer(401, {"message": said}, ())


def acting_as_ours(tenancy: Tenancy, who: str) -> Answer:
    """Impersonating the operator's account."""
    folder, ours = tenancy.plane.folder, f"system:serviceaccount:{RELEASE_NAMESPACE}:kagenti-operator"
    client = ApiClient(tenancy.plane, (folder / f"tenant-{who}.crt", folder / f"tenant-{who}.key"), acts_as=ours)
    try:
        return client.request("GET", client.path("AgentRuntime", TEAM))
    finally:
        client.close()


BOUNDARY = [
    Row("create a pod with the inject label", own_agent, why="that is what these accounts are for"),
    Row("create an AgentRuntime", own_runtime, why="who writes an AgentRuntime writes its workload"),
    Row("`exec` into an agent's pod, or read the namespace's Secrets",
        lambda t, who: t.may(who, "create", "pods", subresource="exec")
        if t.may(who, "list", "secrets").ok else t.may(who, "list", "secrets"),
        why="who may, acts as its workloads, and holds what the namespace's Secrets hold: an `adminCredentialsSecret` too. Where "
            "that is too much, give the namespace `credentialsSecret` or `authType: federated-jwt`, and no admin credential"),
    Row("ask for a token of its service account for audience `kagenti-xds`, and show it to the xDS server", token_without_a_pod,
        "xDS server", ("not bound to a pod",)),
    Row("ask for a token of another namespace's service account", lambda t, who: token(t, who, OTHER), "RBAC", FORBIDDEN),
    Row("act as an account of kagenti (impersonation)", acting_as_ours, "RBAC", ("cannot impersonate",)),
    Row("create an AgentRuntime in another namespace", foreign_runtime, "RBAC", FORBIDDEN),
    Row("create an AgentRuntime at home whose targetRef names another namespace", reaching_over,
        why="there is no such field: the API server warns and drops it; the target is looked for at home"),
    Row("create a pod in another namespace", foreign_pod, "RBAC", FORBIDDEN),
    Row("read another namespace's Secrets", foreign_secret, "RBAC", FORBIDDEN),
]  # fmt: skip


# --- the layers are the platform's ---


def cluster_layer(tenancy: Tenancy, who: str) -> Answer:
    """The AgentRuntimeClusterConfig."""
    return tenancy.clients[who].merge("AgentRuntimeClusterConfig", "", "default", {"spec": {"policy": None}})


def namespace_layer(tenancy: Tenancy, who: str) -> Answer:
    """The AgentRuntimeConfig of the own namespace."""
    return tenancy.clients[who].create(config(TEAM), dry_run=True)


def status(tenancy: Tenancy, who: str) -> Answer:
    """The status of an AgentRuntime."""
    path = tenancy.platform.path("AgentRuntime", TEAM, "weather") + "/status"
    return tenancy.clients[who].request("PATCH", path, {"status": {"phase": "Active"}})


def label_of_namespace(tenancy: Tenancy, who: str, label: str) -> Answer:
    """A label on the own namespace."""
    patch = {"metadata": {"labels": {label: "true" if label != "kagenti.io/enrolled" else None}}}
    return tenancy.clients[who].request("PATCH", f"/api/v1/namespaces/{TEAM}", patch, dryRun="All")


def editor_of_configs(tenancy: Tenancy, who: str) -> Answer:
    """Giving oneself the role that writes the config kinds."""
    made = binding("mine", "kagenti-config-editor", f"tenant-{who}")
    return tenancy.clients[who].request("POST", f"{RBAC}/namespaces/{TEAM}/rolebindings", made, dryRun="All")


def role_of_ones_own(tenancy: Tenancy, who: str) -> Answer:
    """Writing a Role with that right."""
    rules = [{"apiGroups": ["kagenti.io"], "resources": ["agentruntimeconfigs"], "verbs": ["update"]}]
    made = {"kind": "Role", "metadata": {"name": "mine"}, "rules": rules}
    return tenancy.clients[who].request("POST", f"{RBAC}/namespaces/{TEAM}/roles", made, dryRun="All")


def deleting(path: str) -> Any:  # Any: an attempt
    """Deleting an object by its path."""
    return lambda tenancy, who: tenancy.clients[who].request("DELETE", path, dryRun="All")


def reading(path: str) -> Any:  # Any: an attempt
    """Reading what is at a path."""
    return lambda tenancy, who: tenancy.clients[who].request("GET", path)


LAYERS = [
    Row("write the AgentRuntimeClusterConfig", cluster_layer, "RBAC", FORBIDDEN),
    Row("write the AgentRuntimeConfig of its namespace", namespace_layer, "RBAC", FORBIDDEN),
    Row("bind itself to ClusterRole `kagenti-config-editor`", editor_of_configs, "RBAC", ("not currently held",), accounts=(ADMIN,)),
    Row("bind itself to ClusterRole `kagenti-config-editor`", editor_of_configs, "RBAC", FORBIDDEN, accounts=(EDIT,)),
    Row("write a Role that may write AgentRuntimeConfigs", role_of_ones_own, "RBAC", ("not currently held",), accounts=(ADMIN,)),
    Row("write the status of an AgentRuntime", status, "RBAC", FORBIDDEN),
    Row("take its namespace out of enrolment", lambda t, who: label_of_namespace(t, who, "kagenti.io/enrolled"), "RBAC", FORBIDDEN),
    Row("take its namespace out of enrolment", lambda t, who: label_of_namespace(t, who, "kagenti.io/enrolled"),
        "policy `kagenti-guard-namespaces`", ("guards.platformGroups",), accounts=(SPACES,)),
    Row("put its namespace behind the emergency door (`kagenti.io/break-glass`)",
        lambda t, who: label_of_namespace(t, who, "kagenti.io/break-glass"),
        "policy `kagenti-guard-namespaces`", ("guards.platformGroups",), accounts=(SPACES,)),
    Row("delete the webhook configuration", deleting(f"{ADMISSION}/mutatingwebhookconfigurations/kagenti-injector"), "RBAC", FORBIDDEN),
    Row("delete the binding of the guards", deleting(f"{ADMISSION}/validatingadmissionpolicybindings/kagenti-guard-pods"),
        "RBAC", FORBIDDEN),
    Row("read the keys of kagenti's certificates", reading(f"/api/v1/namespaces/{RELEASE_NAMESPACE}/secrets"), "RBAC", FORBIDDEN),
    Row("start a pod where no entry looks, in kagenti's own namespace", lambda t, who: t.pod(who, namespace=RELEASE_NAMESPACE),
        "RBAC", FORBIDDEN),
]  # fmt: skip


# --- a lower layer against a higher one ---


def keycloak(**fields: JSON) -> JSON:
    """Settings of the identity provider."""
    return {"identity": {"clientRegistration": {"keycloak": fields}}}


def moved_with_ones_own(tenancy: Tenancy, who: str) -> Answer:
    """Another provider, with a Secret of the tenant's own."""
    answer = tenancy.pod_under(who, keycloak(url=PARTNER, adminCredentialsSecret="mine"))
    assert answer.ok, answer.message
    assert env(answer, REGISTRATION, "KEYCLOAK_URL") == PARTNER
    assert env(answer, REGISTRATION, "KEYCLOAK_ADMIN_PASSWORD") == "mine"
    return answer


def another_teams_client(tenancy: Tenancy, who: str) -> Answer:
    """A client's name under another namespace."""
    answer = tenancy.pod_under(who, keycloak(clientNameTemplate=f"{OTHER}/weather"))
    assert env(answer, REGISTRATION, "CLIENT_NAME") == f"{TEAM}/{OTHER}/weather"
    return answer


def redirected_names(tenancy: Tenancy, who: str) -> Answer:
    """Host names of the pod that lead to the tenant's own servers."""
    names = [{"ip": "10.0.0.66", "hostnames": ["idp.example", f"kagenti-xds.{RELEASE_NAMESPACE}.svc"]}]
    answer = tenancy.pod(who, label="enabled", hostAliases=names)
    assert injected(answer.body)
    bootstrap = answer.body["metadata"]["annotations"]["config.kagenti.io/envoy.yaml"]
    assert "BEGIN CERTIFICATE" in bootstrap, "the xDS server's CA is what counts"
    assert env(answer, REGISTRATION, "KEYCLOAK_URL").startswith("https://")
    return answer


def excluded_port(tenancy: Tenancy, who: str) -> Answer:
    """A port that is not intercepted."""
    answer = tenancy.pod(who, label="enabled", annotations={"kagenti.io/outbound-ports-exclude": "443"})
    assert injected(answer.body)
    assert "443" in str(env(answer, "proxy-init", "OUTBOUND_PORTS_EXCLUDE")).split(",")
    strict = tenancy.pod(who, namespace=STRICT, annotations={"kagenti.io/outbound-ports-exclude": "443"})
    assert "443" not in str(env(strict, "proxy-init", "OUTBOUND_PORTS_EXCLUDE") or "").split(",")
    return answer


def second_claim(tenancy: Tenancy, who: str) -> Answer:
    """Two AgentRuntimes for one pod."""
    client, names = tenancy.clients[who], (tenancy.name(), tenancy.name())
    assert client.create(runtime(TEAM, names[0], kind="Pod", target=names[0])).ok
    answers = []

    def refused() -> bool:
        answers.append(client.create(runtime(TEAM, names[1], kind="Pod", target=names[0]), dry_run=True))
        return not answers[-1].ok

    wait_until(refused, 30, lambda: "a second AgentRuntime is admitted")
    client.delete("AgentRuntime", TEAM, names[0])
    return answers[-1]


def retargeted(tenancy: Tenancy, who: str) -> Answer:
    """An AgentRuntime that is to move to another workload."""
    client, name = tenancy.clients[who], tenancy.name()
    assert client.create(runtime(TEAM, name, kind="Pod", target=name)).ok
    answer = client.merge("AgentRuntime", TEAM, name, {"spec": {"targetRef": {"name": "payroll"}}})
    client.delete("AgentRuntime", TEAM, name)
    return answer


def secret_as_target(tenancy: Tenancy, who: str) -> Answer:
    """An AgentRuntime for what has no pods."""
    made = runtime(TEAM, tenancy.name(), kind="Secret", target="keycloak")
    made["spec"]["targetRef"]["apiVersion"] = "v1"
    return tenancy.clients[who].create(made, dry_run=True)


def outbound(**fields: JSON) -> JSON:
    """Settings of outbound traffic."""
    return {"identity": {"outbound": fields}}


def rule(**fields: JSON) -> JSON:
    """One destination rule."""
    return outbound(tokenExchange={"destinationRules": [{"match": {"host": "a.example"}, **fields}]})


INBOUND_OFF = {"injection": {"enabled": False}, "identity": {"inbound": {"enabled": False}}}
SECRET = "identity.clientRegistration.keycloak.adminCredentialsSecret"


def under(settings: JSON, **details: JSON) -> Any:  # Any: an attempt
    """A pod under an AgentRuntime with these settings."""
    return lambda tenancy, who: tenancy.pod_under(who, settings, **details)


UPWARDS = [
    Row("send the platform's credential to another provider: AgentRuntime with `keycloak.url`, no Secret",
        under(keycloak(url=PARTNER)), INJECT[0], ("ConfigInvalid", SECRET)),
    Row("the same, naming the Secret that the cluster layer names",
        under(keycloak(url=PARTNER, adminCredentialsSecret="platform-admin")), INJECT[0], ("ConfigInvalid", SECRET)),
    Row("move to another listed provider with a Secret of its own", moved_with_ones_own,
        why="the tenant's own credential goes to a provider that `policy.identityProviders` lists"),
    Row("move to a provider that is not listed", under(keycloak(url=EVIL, adminCredentialsSecret="mine")),
        INJECT[0], ("ConfigInvalid", "policy.identityProviders")),
    Row("trust another issuer's callers (`validation.issuer`)", under({"identity": {"inbound": {"validation": {"issuer": EVIL}}}}),
        INJECT[0], ("ConfigInvalid", "policy.identityProviders")),
    Row("let own keys vouch for the issuer (`validation.jwksUrl`)",
        under({"identity": {"inbound": {"validation": {"jwksUrl": f"{IDP}/realms/prod/%2e%2e/evil"}}}}),
        INJECT[0], ("ConfigInvalid", "policy.identityProviders")),
    Row("have tokens exchanged elsewhere (`tokenUrl`)", under(outbound(tokenExchange={"tokenUrl": f"{EVIL}/token"})),
        INJECT[0], ("ConfigInvalid", "tokenUrl")),
    Row("the same in one destination rule", under(rule(target={"audience": "a", "tokenUrl": f"{EVIL}/token"})),
        INJECT[0], ("ConfigInvalid", "tokenUrl")),
    Row("take another team's client name", another_teams_client, why="the name gets the namespace as a prefix"),
    Row("choose the image of a sidecar", under({"components": {"envoyProxy": {"image": "evil/envoy:1"}}}),
        VALIDATE, ("components.envoyProxy.image", "policy.delegated")),
    Row("break a lock", under({"trace": {"sampling": {"rate": 1.0}}}), VALIDATE, ("trace.sampling", "AgentRuntimeClusterConfig default")),
    Row("open what a locked `defaultPolicy: Deny` closes, by a rule with `action: Passthrough`", under(rule(action="Passthrough")),
        INJECT[0], ("ConfigInvalid", "defaultPolicy")),
    Row("exclude a port from interception, and with it from a locked Deny", excluded_port,
        why="a lock binds injected traffic, and where injection is not Mandatory a pod need not be injected at all; Mandatory locks "
            "this setting too, and there it has no effect"),
    Row("let the names of identity provider and xDS server lead elsewhere (`hostAliases`)", redirected_names,
        why="both prove themselves by TLS, the xDS server by the CA in the bootstrap; who writes a pod could mount its namespace's "
            "Secrets anyway. Give the provider an `https` URL"),
    Row("switch injection off where it is Mandatory, by AgentRuntime", under(INBOUND_OFF, namespace=STRICT), VALIDATE,
        ("injection.enabled",)),
    Row("write a second AgentRuntime for a workload", second_claim, VALIDATE, ("already the target",)),
    Row("point an AgentRuntime to another workload", retargeted, "API server", ("targetRef",)),
    Row("target a Secret",
        secret_as_target, VALIDATE, ("has no pods",)),
]  # fmt: skip

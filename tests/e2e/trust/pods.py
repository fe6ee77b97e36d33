"""Attempts on pods: under Mandatory, with what is ours in the manifest, and on an agent that runs."""

import copy
from typing import Any

from tests.e2e.admission.effects import container, env
from tests.e2e.admission.manifests import CONTAINER, pod, workload
from tests.e2e.admission.observed import bare, injected, receipt
from tests.e2e.api_client import Answer
from tests.e2e.plane.waiting import wait_until
from tests.e2e.trust.tenants import ADMIN, DEBUG, EDIT, PLAIN, STRICT, TEAM, Row, Tenancy

JSON = Any  # a Kubernetes object as received

INJECT, LABELLED = "webhook `inject-cr.kagenti.io`", "webhook `inject-label.kagenti.io`"
GUARD = "policy `kagenti-guard-pods`"
MIRROR = {"kubernetes.io/config.mirror": "0123"}
FORGED = {"kagenti.io/injected": '{"layout": 1}', "config.kagenti.io/envoy.yaml": "admin: {}"}


# --- Mandatory ---


def opted_out_by_component(tenancy: Tenancy, who: str) -> Answer:
    """Opt-out labels of the components, and an excluded port."""
    labels = {f"kagenti.io/{name}-inject": "false" for name in ("envoy-proxy", "spiffe-helper", "client-registration")}
    answer = tenancy.pod(who, namespace=STRICT, labels=labels, annotations={"kagenti.io/inbound-ports-exclude": "8081"})
    assert injected(answer.body)
    assert "8081" not in str(env(answer, "proxy-init", "INBOUND_PORTS_EXCLUDE") or "").split(",")
    return answer


def image_of_the_proxys_user(tenancy: Tenancy, who: str) -> Answer:
    """A container that names no user."""
    answer = tenancy.pod(who, namespace=STRICT)
    assert injected(answer.body)
    return answer


def exempt_account(tenancy: Tenancy, who: str) -> Answer:
    """The service account that the platform exempts."""
    answer = tenancy.pod(who, namespace=STRICT, serviceAccountName="batch")
    assert bare(answer.body)
    return answer


def exempt_by_label(tenancy: Tenancy, who: str) -> Answer:
    """A label that says so."""
    answer = tenancy.pod(who, namespace=STRICT, labels={"kagenti.io/exempt": "true", "app": "legacy"})
    assert injected(answer.body)
    return answer


def exempt_owner_claimed(tenancy: Tenancy, who: str) -> Answer:
    """An owner reference to a ReplicaSet of the exempt Deployment that does not exist."""
    made = pod(STRICT, tenancy.name())
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "legacy-abc", "uid": "0-0-0", "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    answer = tenancy.clients[who].create(made, dry_run=True)
    assert injected(answer.body), answer.message
    return answer


def exempt_owner_of_ones_own(tenancy: Tenancy, who: str) -> Answer:
    """A Deployment of the exempt name, made by the tenant."""
    client = tenancy.clients[who]
    assert client.create(workload("Deployment", STRICT, "legacy")).ok

    def pods() -> list[JSON]:
        return client.items("Pod", STRICT, labelSelector="app=legacy")

    wait_until(pods, 60, lambda: "no pod of the exempt Deployment")
    assert bare(pods()[0])
    answer = client.delete("Deployment", STRICT, "legacy")
    tenancy.platform.request("DELETE", f"/api/v1/namespaces/{STRICT}/pods", labelSelector="app=legacy")
    wait_until(lambda: not pods(), 60, lambda: "the exempt Deployment's pods stay")
    return answer


def as_mirror(tenancy: Tenancy, who: str) -> Answer:
    """A pod that says it mirrors a static one."""
    answer = tenancy.clients[who].create(_mirror(tenancy), dry_run=True)
    assert bare(answer.body), answer.message
    return answer


def _mirror(tenancy: Tenancy) -> JSON:
    made = pod(STRICT, tenancy.name(), nodeName="node-1", automountServiceAccountToken=False)
    made["metadata"]["annotations"] = MIRROR
    return made


def mirror_no_more(tenancy: Tenancy, who: str) -> Answer:
    """The same pod, then without the annotation."""
    client, made = tenancy.clients[who], _mirror(tenancy)
    assert client.create(made).ok
    path = client.path("Pod", STRICT, made["metadata"]["name"])
    answer = client.request("PATCH", path, {"metadata": {"annotations": dict.fromkeys(MIRROR)}}, dryRun="All")
    tenancy.platform.delete("Pod", STRICT, made["metadata"]["name"])
    return answer


def containers(**fields: JSON) -> JSON:
    """The app's container with these fields."""
    return [{**CONTAINER, **fields}]


MANDATORY = [
    Row("opt out where injection is Mandatory (`kagenti.io/inject: disabled`)",
        lambda t, who: t.pod(who, namespace=STRICT, label="disabled"),
        LABELLED, ("MandatoryInjection",)),
    Row("opt out of single components there, exclude a port", opted_out_by_component, why="Mandatory locks these settings: no effect"),
    Row("run on the node's network there", lambda t, who: t.pod(who, namespace=STRICT, hostNetwork=True), INJECT, ("UnsupportedPod",)),
    Row("run privileged there",
        lambda t, who: t.pod(who, namespace=STRICT, containers=containers(securityContext={"privileged": True})),
        INJECT, ("InterceptionNotEnforced",)),
    Row("run an image there whose own user is the proxy's, so that its traffic is not intercepted", image_of_the_proxys_user,
        why="an image's user is not seen at admission, and interception binds applications that cooperate: require `runAsUser` by a "
            "policy of the cluster, and enforce egress by a NetworkPolicy"),
    Row("claim an exemption by a label", exempt_by_label, why="exemptions name owners and service accounts, never labels: no effect"),
    Row("claim an exemption by an owner reference to what does not exist", exempt_owner_claimed,
        why="the reference is checked by UID, kind and name and does not hold: no effect"),
    Row("use the service account that the platform exempts", exempt_account,
        why="an exemption is for everybody who writes pods in that namespace: exempt nothing in a namespace whose tenants you would "
            "not exempt"),
    Row("create a Deployment of the exempt name", exempt_owner_of_ones_own, why="the same"),
    Row("create a mirror pod, which no entry sees", as_mirror,
        why="no kubelet runs a mirror pod of the API server: it deletes one whose static pod it does not have"),
    Row("turn a mirror pod into an ordinary one", mirror_no_more, "API server", ("mirror pod annotation",)),
]  # fmt: skip


# --- what is ours in the manifest ---


def forged_unseen(tenancy: Tenancy, who: str) -> Answer:
    """A receipt where no entry looks."""
    made = pod(PLAIN, tenancy.name(), labels={"kagenti.io/managed": "true"})
    made["metadata"]["annotations"] = FORGED
    answer = tenancy.clients[who].create(made, dry_run=True)
    assert any("proves nothing" in warning for warning in answer.warnings), answer.warnings
    return answer


def forged_bare(tenancy: Tenancy, who: str) -> Answer:
    """A receipt on a pod that nothing triggers."""
    answer = tenancy.pod(who, labels={"kagenti.io/managed": "true"}, annotations=FORGED)
    assert bare(answer.body)
    assert any("ReceiptDropped" in warning or "receipt" in warning for warning in answer.warnings), answer.warnings
    return answer


def forged_injected(tenancy: Tenancy, who: str) -> Answer:
    """A receipt and a bootstrap on a pod that is injected."""
    answer = tenancy.pod(who, label="enabled", annotations=FORGED)
    assert injected(answer.body), answer.message
    assert set(receipt(answer.body) or ()) > {"layout"}
    assert answer.body["metadata"]["annotations"]["config.kagenti.io/envoy.yaml"] != "admin: {}"
    return answer


def own_envoy(tenancy: Tenancy, who: str) -> Answer:
    """A sidecar of ours with another image, in the manifest with a receipt."""
    ours = copy.deepcopy(tenancy.running)
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: ours["metadata"][key] for key in ("labels", "annotations")},
        "spec": {key: ours["spec"][key] for key in ("containers", "initContainers", "volumes")},
    }
    made["metadata"] |= {"name": tenancy.name(), "namespace": TEAM}
    for one in made["spec"]["initContainers"]:
        one["image"] = "evil/envoy:1" if one["name"] == "envoy-proxy" else one["image"]
        one["volumeMounts"] = [found for found in one.get("volumeMounts", ()) if "kube-api-access" not in found["name"]]
    for one in made["spec"]["containers"]:
        one["volumeMounts"] = [found for found in one.get("volumeMounts", ()) if "kube-api-access" not in found["name"]]
    made["spec"]["volumes"] = [found for found in made["spec"]["volumes"] if "kube-api-access" not in found["name"]]
    answer = tenancy.clients[who].create(made, dry_run=True)
    assert answer.ok, answer.message
    assert "evil" not in container(answer, "envoy-proxy")["image"]
    return answer


RESERVED = {"name": "envoy-proxy", "image": "evil/envoy:1"}
MOUNT = [{"name": "kagenti-shared", "mountPath": "/shared"}]

MANIFESTS = [
    Row("bring a container `envoy-proxy` along", lambda t, who: t.pod(who, label="enabled", containers=[CONTAINER, RESERVED]),
        LABELLED, ("ReservedName",)),
    Row("mount our volume with the client's secret into the application",
        lambda t, who: t.pod(who, label="enabled", containers=containers(volumeMounts=MOUNT),
                             volumes=[{"name": "kagenti-shared", "emptyDir": {}}]),
        LABELLED, ("ReservedName",)),
    Row("run the application as the proxy's user, whose traffic is not intercepted",
        lambda t, who: t.pod(who, label="enabled", containers=containers(securityContext={"runAsUser": 1337})),
        LABELLED, ("ProxyUid",)),
    Row("create a pod with a forged receipt and bootstrap where it is injected", forged_injected,
        why="a receipt is not believed: every field of ours is set again"),
    Row("copy an injected pod and change the image of `envoy-proxy`", own_envoy, why="the same"),
    Row("the same claims on a pod that is not injected, in an enrolled namespace", forged_bare,
        why="what is ours is taken off again, with a warning"),
    Row("the same claims where no entry looks (to be counted as managed, or to reach the xDS port)", forged_unseen,
        why="a policy warns and audits; statuses recompute receipts, and the xDS server asks for the pod's token besides"),
]  # fmt: skip


# --- an agent that runs ---


def of_container(tenancy: Tenancy, who: str, kind: str, name: str) -> Answer:
    """Another image for one container."""
    found = copy.deepcopy(tenancy.running["spec"][kind])
    for one in found:
        if one["name"] == name:
            one["image"] = "evil/envoy:1"
    return tenancy.change(who, {"spec": {kind: found}})


def trigger_removed(tenancy: Tenancy, who: str) -> Answer:
    """The inject label off the running pod."""
    answer = tenancy.change(who, {"metadata": {"labels": {"kagenti.io/inject": None}}})
    assert injected(answer.body), answer.message
    return answer


def metadata(subresource: str = "", **fields: JSON) -> Any:  # Any: an attempt
    """A change of the running pod's metadata."""
    return lambda tenancy, who: tenancy.change(who, {"metadata": fields}, subresource=subresource)


def debugging(**fields: JSON) -> Any:  # Any: an attempt
    """A debug container with these fields."""
    return lambda tenancy, who: tenancy.debugger(who, **fields)


def as_proxy(tenancy: Tenancy, who: str) -> Answer:
    """A debug container as the proxy's user."""
    (envoy,) = [one for one in tenancy.running["spec"]["initContainers"] if one["name"] == "envoy-proxy"]
    return tenancy.debugger(who, securityContext={"runAsUser": envoy["securityContext"]["runAsUser"]})


def without_network_policy(tenancy: Tenancy, who: str) -> Answer:
    """Deleting a NetworkPolicy that keeps egress to the proxy's."""
    path = f"/apis/networking.k8s.io/v1/namespaces/{TEAM}/networkpolicies"
    made = {
        "kind": "NetworkPolicy",
        "metadata": {"name": "egress"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
    }
    assert tenancy.platform.request("POST", path, made).ok
    return tenancy.clients[who].request("DELETE", f"{path}/egress")


RECEIPT_GONE = {"kagenti.io/injected": None}
ALL = (ADMIN, EDIT, DEBUG)

RUNNING = [
    Row("change the receipt", metadata(annotations={"kagenti.io/injected": "{}"}), GUARD, ("kagenti.io/injected",)),
    Row("remove the receipt", metadata(annotations=RECEIPT_GONE), GUARD, ("kagenti.io/injected",)),
    Row("change a file of the sidecars", metadata(annotations={"config.kagenti.io/envoy.yaml": "admin: {}"}), GUARD,
        ("config.kagenti.io/*",)),
    Row("remove or change label `kagenti.io/managed`", metadata(labels={"kagenti.io/managed": None}), GUARD, ("kagenti.io/managed",)),
    Row("change the receipt through `pods/status`", metadata("status", annotations=RECEIPT_GONE), "RBAC", ("cannot",)),
    Row("change the receipt through `pods/status`", metadata("status", annotations=RECEIPT_GONE), GUARD, ("kagenti.io/injected",),
        accounts=(DEBUG,)),
    Row("change the image of `envoy-proxy`", lambda t, who: of_container(t, who, "initContainers", "envoy-proxy"),
        GUARD, ("image of a sidecar", "components.*.image")),
    Row("change the image of the application", lambda t, who: of_container(t, who, "containers", "agent"),
        why="the application is the tenant's own"),
    Row("remove the inject label", trigger_removed, why="it triggers at creation; sidecars, receipt and policy stay"),
    Row("add a debug container", debugging(), "RBAC", ("cannot",)),
    Row("add a debug container beside the application, as `kubectl debug --profile=baseline` does",
        debugging(targetContainerName="agent", securityContext={"runAsUser": 1000}), accounts=(DEBUG,),
        why="it sees what the application sees, and is intercepted alike as long as it cooperates: one that runs as root can become the "
            "proxy's user, so give `pods/ephemeralcontainers` to whom you would give `exec`"),
    Row("debug container that mounts the volume with the client's secret", debugging(volumeMounts=MOUNT), GUARD,
        ("holds credentials",), accounts=(DEBUG,)),
    Row("debug container that mounts the xDS token", debugging(volumeMounts=[{"name": "kagenti-tokens", "mountPath": "/t"}]), GUARD,
        ("holds credentials",), accounts=(DEBUG,)),
    Row("debug container in the processes of `envoy-proxy`", debugging(targetContainerName="envoy-proxy"), GUARD,
        ("targetContainerName",), accounts=(DEBUG,)),
    Row("debug container as the proxy's user", as_proxy, GUARD, ("proxy's user",), accounts=(DEBUG,)),
    Row("privileged debug container", debugging(securityContext={"privileged": True}), GUARD, ("privileged",), accounts=(DEBUG,)),
    Row("debug container that rewrites the redirection (NET_ADMIN)",
        debugging(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}), GUARD, ("NET_ADMIN",), accounts=(DEBUG,)),
    Row("debug container that reads other processes (SYS_PTRACE)",
        debugging(securityContext={"capabilities": {"add": ["SYS_PTRACE"]}}), GUARD, ("SYS_PTRACE",), accounts=(DEBUG,)),
    Row("delete a NetworkPolicy of its namespace", without_network_policy,
        why="these roles may: interception binds applications that cooperate, and what shall hold against the tenant is a policy that "
            "the tenant cannot write, for instance an AdminNetworkPolicy or the CNI's own for the cluster"),
]  # fmt: skip

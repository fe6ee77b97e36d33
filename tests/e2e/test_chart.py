"""The chart: rendered by the real helm for every mode and target, and read back from the real API server."""

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.charts import CHART, KUBE_VERSION, RELEASE_NAMESPACE, parsed, render, run_helm, without_kinds
from tests.e2e.installed import ROOT
from tests.e2e.plane.certificates import mint_authority
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object
CA = mint_authority("chart test").certificate_pem
CA = CA.decode() if isinstance(CA, bytes) else CA
PROVIDED = ("--set", "certificates.mode=provided", "--set-string", f"certificates.caBundle={CA}")
SELF_MANAGED = ("--set", "certificates.mode=selfManaged")
SHAPES = [(mode, target) for mode in ("label", "cr", "both") for target in ("pods", "workloads")]

# What only the API server can know: assigned addresses, and the alias that it keeps for clients of 2015.
ASSIGNED = {
    "Service": ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"),
    "Deployment": ("template.spec.serviceAccount",),
}
SERVER_METADATA = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")


@functools.cache
def shaped(mode: str, target: str) -> list[JSON]:
    """Returns the rendering of a mode and target, with a certificate of ours."""
    return render("--set", f"webhook.triggerMode={mode},webhook.target={target}", *PROVIDED)


def identity(document: JSON) -> str:
    """Returns kind and name."""
    return f"{document['kind']}/{document['metadata']['name']}"


@pytest.fixture(scope="module")
def place() -> Iterator[ControlPlane]:
    """A plane of its own with our kinds: releases come and go here, and with them the rights of other tests' webhooks."""
    with ControlPlane() as plane:
        plane.kubectl("apply", "--server-side", "-f", str(CHART / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        plane.kubectl("create", "namespace", RELEASE_NAMESPACE)
        yield plane


def apply(plane: ControlPlane, documents: list[JSON], *flags: str) -> list[JSON]:
    """Applies documents server-side and returns them as the API server then has them."""
    text = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": documents}).decode()
    command = ("apply", "--server-side", "--force-conflicts", "-n", RELEASE_NAMESPACE, "-o", "json", "-f", "-", *flags)
    answer = orjson.loads(plane.kubectl(*command, stdin=text))
    items: list[JSON] = answer.get("items", [answer])
    return items


def without(document: JSON, *paths: str) -> JSON:
    """Returns a copy without these dotted paths."""
    copy = orjson.loads(orjson.dumps(document))
    for path in paths:
        *parents, last = path.split(".")
        node = copy
        for key in parents:
            node = node.get(key, {})
        node.pop(last, None)
    return copy


def own_part(document: JSON) -> JSON:
    """Returns what the chart is to decide: everything but status, server's metadata and assigned fields."""
    kept = without(document, "status", *(f"metadata.{key}" for key in SERVER_METADATA))
    if not kept["metadata"].get("annotations"):
        kept["metadata"].pop("annotations", None)
    if document["kind"] == "Deployment":
        kept["metadata"].get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
        if not kept["metadata"].get("annotations"):
            kept["metadata"].pop("annotations", None)
    if "aggregationRule" in kept:  # its rules are the controller's, from the roles that it selects
        kept.pop("rules", None)
    return without(kept, *(f"spec.{path}" for path in ASSIGNED.get(document["kind"], ())))


def test_lint_finds_nothing() -> None:
    """Helm lint --strict, with every source of certificates."""
    for values in ((), PROVIDED, SELF_MANAGED):
        done = run_helm("lint", "--strict", str(CHART), *values)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("mode", "target"), SHAPES)
def test_the_api_server_adds_nothing_to_what_is_rendered(mode: str, target: str, place: ControlPlane) -> None:
    """Dry-run, then really: every defaulted field is spelled out, so that GitOps tools see no drift."""
    documents = shaped(mode, target)
    apply(place, documents, "--dry-run=server")
    stored = {identity(document): own_part(document) for document in apply(place, documents)}
    assert stored == {identity(document): own_part(document) for document in documents}


@pytest.mark.parametrize(("mode", "target"), SHAPES)
def test_applying_twice_changes_nothing(mode: str, target: str, place: ControlPlane) -> None:
    """The second application leaves every object at its version (some kinds have a status that moves by itself)."""
    moving = ("Deployment", "PodDisruptionBudget", "ValidatingAdmissionPolicy")
    documents = [
        document
        for document in shaped(mode, target)
        if document["kind"] not in moving and "aggregationRule" not in document
    ]
    before, after = apply(place, documents), apply(place, documents)
    versions = [{identity(d): d["metadata"]["resourceVersion"] for d in found} for found in (before, after)]
    assert versions[0] == versions[1]


def entries(mode: str, target: str) -> dict[str, JSON]:
    """Returns the rendered mutating entries by name."""
    (configuration,) = [d for d in shaped(mode, target) if d["kind"] == "MutatingWebhookConfiguration"]
    return {entry["name"]: entry for entry in configuration["webhooks"]}


NEVER = [
    {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": ["kube-system", "kube-public", "kube-node-lease", RELEASE_NAMESPACE],
    },
    {"key": "kagenti.io/break-glass", "operator": "DoesNotExist"},
]
ENROLLED = {"kagenti.io/enrolled": "true"}
LABELLED = {"matchExpressions": [{"key": "kagenti.io/inject", "operator": "Exists"}]}
UNLABELLED = {"matchExpressions": [{"key": "kagenti.io/inject", "operator": "DoesNotExist"}]}
# (mode, target): {entry: (objectSelector, namespaceSelector.matchLabels, names of matchConditions)}; spec 03's table.
TABLE: dict[tuple[str, str], dict[str, tuple[JSON, JSON, list[str]]]] = {
    ("label", "pods"): {"inject-label.kagenti.io": (LABELLED, None, ["not-a-mirror-pod"])},
    ("cr", "pods"): {"inject-cr.kagenti.io": ({}, ENROLLED, ["not-a-mirror-pod"])},
    ("both", "pods"): {
        "inject-label.kagenti.io": (LABELLED, None, ["not-a-mirror-pod"]),
        "inject-cr.kagenti.io": (UNLABELLED, ENROLLED, ["not-a-mirror-pod"]),
    },
    ("label", "workloads"): {"inject-label.kagenti.io": ({}, None, ["not-being-deleted", "labelled"])},
    ("cr", "workloads"): {"inject-cr.kagenti.io": ({}, ENROLLED, ["not-being-deleted"])},
    ("both", "workloads"): {
        "inject-label.kagenti.io": ({}, None, ["not-being-deleted", "labelled"]),
        "inject-cr.kagenti.io": ({}, ENROLLED, ["not-being-deleted", "not-labelled"]),
    },
}


@pytest.mark.parametrize(("mode", "target"), SHAPES)
def test_the_entries_are_those_of_the_table(mode: str, target: str) -> None:
    """Selectors, conditions and what is the same for all, for each mode and target."""
    found = entries(mode, target)
    assert {
        name: (
            entry["objectSelector"],
            entry["namespaceSelector"].get("matchLabels"),
            [condition["name"] for condition in entry["matchConditions"]],
        )
        for name, entry in found.items()
    } == TABLE[mode, target]
    for entry in found.values():
        assert entry["namespaceSelector"]["matchExpressions"] == NEVER
        assert (entry["failurePolicy"], entry["timeoutSeconds"], entry["matchPolicy"]) == ("Fail", 5, "Equivalent")
        assert (entry["reinvocationPolicy"], entry["sideEffects"]) == ("IfNeeded", "None")
        assert {rule["scope"] for rule in entry["rules"]} == {"Namespaced"}
        assert entry["clientConfig"]["service"]["path"] == f"/mutate/{target}"


def test_validation_and_advice_fail_open_and_mutate_nothing() -> None:
    """Both stand in a validating configuration with failurePolicy Ignore; advice costs a second at most."""
    (configuration,) = [d for d in shaped("both", "pods") if d["kind"] == "ValidatingWebhookConfiguration"]
    assert {
        entry["name"]: (entry["failurePolicy"], entry["timeoutSeconds"], entry["clientConfig"]["service"]["path"])
        for entry in configuration["webhooks"]
    } == {
        "validate.kagenti.io": ("Ignore", 5, "/validate"),
        "advise.kagenti.io": ("Ignore", 1, "/advise"),
    }


BAD = {
    "mode": (("--set", "webhook.triggerMode=labels"), "'label', 'cr', 'both'"),
    "target": (("--set", "webhook.target=pod"), "'pods', 'workloads'"),
    "consistency": (("--set", "webhook.consistency=eventual"), "'strict', 'cached'"),
    "policy": (("--set", "webhook.failurePolicy=Never"), "'Fail', 'Ignore'"),
    "replicas": (("--set", "webhook.replicas=0"), "minimum: got 0, want 1"),
    "port": (("--set", "webhook.port=443"), "minimum: got 443, want 1,024"),
    "concurrency": (("--set", "webhook.concurrency=0"), "minimum: got 0, want 1"),
    "client CA": (("--set", "webhook.clientCA.key=a/b"), "does not match pattern"),
    "unknown value": (("--set", "webhook.triggermode=cr"), "additional properties 'triggermode' not allowed"),
    "digest": (("--set", "image.digest=latest"), "does not match pattern"),
    "label value": (("--set", "webhook.namespaceSelector.matchLabels.a=b c"), "does not match pattern"),
    "operator": (
        ("--set", "webhook.namespaceSelector.matchExpressions[0].key=a,"
                  "webhook.namespaceSelector.matchExpressions[0].operator=Equals"),
        "'In', 'NotIn', 'Exists', 'DoesNotExist'",
    ),
    "no values": (
        ("--set", "webhook.namespaceSelector.matchExpressions[0].key=a,"
                  "webhook.namespaceSelector.matchExpressions[0].operator=In"),
        'operator In of key "a" needs values',
    ),
    "bundle of one's own": ((*SELF_MANAGED, "--set", "certificates.caBundle=x"), "the operator writes the caBundle"),
    "issuer of one's own": ((*SELF_MANAGED, "--set", "certificates.issuerRef.name=x"), "the operator is its own issuer"),
    "a CA for a leaf": ((*SELF_MANAGED, "--set", "certificates.secretName=kagenti-xds-ca"), "which no pod may mount"),
    "one Secret for both": (("--set", "certificates.xdsSecretName=kagenti-webhook-tls"), "name two"),
    "xds replicas": (("--set", "xds.replicas=17"), "maximum: got 17, want 16"),
    "pod networks": (("--set", "operator.podNetworks={10.244.0.0}"), "does not match pattern"),
    "no bundle": (("--set", "certificates.mode=provided"), "set it to the PEM of the CA"),
    "two authorities": (("--set", "certificates.caBundle=x"), "cert-manager writes the caBundle"),
    "old Kubernetes": (("--kube-version", "1.31.0"), "kubeVersion: >=1.32.0-0"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_is_refused_with_what_is_allowed(case: str) -> None:
    """Nothing is rendered, and the message names the value or says what to do."""
    values, message = BAD[case]
    done = run_helm("template", "kagenti", str(without_kinds()), "--kube-version", KUBE_VERSION, *values)
    assert done.returncode != 0
    assert message in done.stderr
    assert done.stdout == ""


def test_cert_manager_gets_a_ca_that_outlives_its_leaves() -> None:
    """No caBundle is rendered; both configurations ask for it to be injected; the leaf is signed by a CA."""
    documents = {identity(document): document for document in render()}
    for kind in ("MutatingWebhookConfiguration/kagenti-injector", "ValidatingWebhookConfiguration/kagenti-validator"):
        annotations = documents[kind]["metadata"]["annotations"]
        assert annotations == {"cert-manager.io/inject-ca-from": f"{RELEASE_NAMESPACE}/kagenti-webhook"}
        assert all("caBundle" not in entry["clientConfig"] for entry in documents[kind]["webhooks"])
    assert documents["Certificate/kagenti-webhook-ca"]["spec"]["isCA"] is True
    assert documents["Issuer/kagenti-webhook"]["spec"] == {"ca": {"secretName": "kagenti-webhook-ca"}}
    leaf = documents["Certificate/kagenti-webhook"]["spec"]
    assert leaf["dnsNames"][0] == f"kagenti-webhook.{RELEASE_NAMESPACE}.svc"
    given = render("--set", "certificates.issuerRef.name=corp,certificates.issuerRef.kind=ClusterIssuer")
    made = [identity(document) for document in given if document["kind"] in ("Issuer", "Certificate")]
    assert [name for name in made if "webhook" in name] == ["Certificate/kagenti-webhook"]


def test_the_operator_alone_may_touch_the_secrets_of_certificates_and_by_name(place: ControlPlane) -> None:
    """In mode selfManaged: four Secrets of its own namespace, no list, no watch, no delete; in the other modes none."""
    documents = render(*SELF_MANAGED, "--set", "certificates.secretName=one,certificates.xdsSecretName=two")
    granted = {
        (document["kind"], document["metadata"]["name"], verb, *sorted(rule.get("resourceNames", ["any"])))
        for document in documents
        if document["kind"] in ("Role", "ClusterRole")
        for rule in document.get("rules") or ()
        if "secrets" in rule.get("resources", ())
        for verb in rule["verbs"]
    }
    names = ("kagenti-webhook-ca", "kagenti-xds-ca", "one", "two")
    assert granted == {("Role", "kagenti-operator-certificates", verb, *names) for verb in ("get", "create", "patch")}
    (binding,) = [d for d in documents if identity(d) == "RoleBinding/kagenti-operator-certificates"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "kagenti-operator", "namespace": RELEASE_NAMESPACE}
    ]
    for document in documents:
        if document["kind"] == "Deployment":  # no pod mounts a CA's key
            assert "kagenti-webhook-ca" not in str(document)
            assert "kagenti-xds-ca" not in str(document)
    chosen = [d for d in documents if "certificates" in d["metadata"]["name"]]
    stored = {identity(document): own_part(document) for document in apply(place, chosen, "--dry-run=server")}
    assert stored == {identity(document): own_part(document) for document in chosen}
    assert "certificates" not in {name.rpartition("-")[2] for name in map(identity, shaped("both", "pods"))}


def test_the_operator_needs_no_secret_to_start_that_it_is_to_make() -> None:
    """In mode selfManaged it mounts none, and is told the names of those that the others mount."""
    documents = render(*SELF_MANAGED, "--set", "certificates.secretName=one,certificates.xdsSecretName=two")
    spec = deployment_of(documents, "kagenti-operator")["spec"]["template"]["spec"]
    assert "volumes" not in spec
    flags = [flag for flag in spec["containers"][0]["args"] if flag.startswith(("--manage", "--webhook", "--xds"))]
    assert flags == ["--manage-certificates", "--webhook-secret=one", "--xds-secret=two"]
    for document in documents:
        if document["kind"].endswith("WebhookConfiguration"):
            assert "annotations" not in document["metadata"]
            assert all("caBundle" not in entry["clientConfig"] for entry in document["webhooks"])


def test_the_process_is_told_what_the_configuration_selects() -> None:
    """The namespace selector reaches the webhook in kubectl's syntax, with values that differ from the defaults."""
    values = "webhook.namespaceSelector.matchLabels=null"
    for index, (key, operator) in enumerate((("team", "In"), ("x", "NotIn"), ("y", "Exists"), ("z", "DoesNotExist"))):
        values += f",webhook.namespaceSelector.matchExpressions[{index}].key={key}"
        values += f",webhook.namespaceSelector.matchExpressions[{index}].operator={operator}"
        if operator.endswith("In"):
            values += f",webhook.namespaceSelector.matchExpressions[{index}].values={{a,b}}"
    documents = {identity(document): document for document in render("--set", values)}
    (container,) = documents["Deployment/kagenti-webhook"]["spec"]["template"]["spec"]["containers"]
    assert "--namespace-selector=team in (a,b),x notin (a,b),y,!z" in container["args"]


def test_the_operator_is_told_where_pods_are() -> None:
    """Networks of both families, with commas between; without any there is no flag."""
    for value, flags in (("[]", []), ('["10.244.0.0/16", "fd00::/8"]', ["--pod-networks=10.244.0.0/16,fd00::/8"])):
        documents = {identity(document): document for document in render("--set-json", f"operator.podNetworks={value}")}
        (container,) = documents["Deployment/kagenti-operator"]["spec"]["template"]["spec"]["containers"]
        assert [found for found in container["args"] if "pod-networks" in found] == flags


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("kagenti-webhook", PROVIDED),
        ("kagenti-xds", PROVIDED),
        ("kagenti-operator", PROVIDED),
        ("kagenti-operator", SELF_MANAGED),
    ],
    ids=["webhook", "xds", "operator", "operator with certificates"],
)
def test_every_flag_of_a_deployment_is_one_of_the_command(name: str, values: tuple[str, ...]) -> None:
    """The rendered arguments start the real program, which then misses nothing but what is mounted."""
    deployment = deployment_of(render("--set", "webhook.triggerMode=cr,webhook.target=workloads", *values), name)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command = [sys.executable, "-m", "kagenti", *container["args"], "--kubeconfig", str(ROOT / "none")]
    environment = os.environ | {entry["name"]: "a-pod" for entry in container.get("env", ())}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=environment)
    assert done.returncode == 2, done.stderr
    assert "does not exist" in done.stderr or "cannot read" in done.stderr
    assert "No such option" not in done.stderr


CLIENT_CA = ("--set", "webhook.clientCA.secretName=ca,webhook.clientCA.key=root.pem,webhook.concurrency=64")
IDP_CA = ("--set", "xds.identityProviderCA.secretName=ca,xds.identityProviderCA.key=root.pem")
WITH_A_CA = pytest.mark.parametrize(
    ("name", "values", "option"),
    [("kagenti-webhook", CLIENT_CA, "client-ca"), ("kagenti-xds", IDP_CA, "idp-ca")],
    ids=["client-ca", "idp-ca"],
)


def deployment_of(documents: list[JSON], name: str) -> JSON:
    """Returns the Deployment of one process."""
    return next(d for d in documents if d["kind"] == "Deployment" and d["metadata"]["name"] == name)


@WITH_A_CA
def test_a_ca_is_mounted_and_named(name: str, values: tuple[str, ...], option: str, place: ControlPlane) -> None:
    """The key of the Secret stands where the flag says; the API server adds nothing, and without a name there is neither."""
    deployment = deployment_of(render(*values, *PROVIDED), name)
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert f"--{option}=/{option}/root.pem" in container["args"]
    assert {"name": option, "mountPath": f"/{option}", "readOnly": True} in container["volumeMounts"]
    (volume,) = [found for found in spec["volumes"] if found["name"] == option]
    assert volume["secret"]["items"] == [{"key": "root.pem", "path": "root.pem"}]
    (stored,) = apply(place, [deployment], "--dry-run=server")
    assert own_part(stored) == own_part(deployment)
    assert option not in str(deployment_of(shaped("both", "pods"), name))


def test_the_seats_of_the_webhook_are_passed() -> None:
    """``webhook.concurrency`` as it is given."""
    (container,) = deployment_of(render(*CLIENT_CA, *PROVIDED), "kagenti-webhook")["spec"]["template"]["spec"][
        "containers"
    ]
    assert "--concurrency=64" in container["args"]


@WITH_A_CA
def test_every_flag_with_a_ca_is_one_of_the_command(
    name: str, values: tuple[str, ...], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rendered arguments start the real program, as far as files that are not there."""
    monkeypatch.setenv("POD_NAME", "xds-1")
    deployment = deployment_of(render(*values, *PROVIDED), name)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    command = [sys.executable, "-m", "kagenti", *container["args"], "--kubeconfig", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2, done.stderr
    assert "No such option" not in done.stderr


RIGHTS = [
    ("admin", "create", "agentruntimes.kagenti.io", True, "writes AgentRuntimes, as workloads"),
    ("edit", "create", "agentcards.kagenti.io", True, "writes AgentCards"),
    ("view", "create", "agentruntimes.kagenti.io", False, "only reads"),
    ("view", "list", "agentruntimeconfigs.kagenti.io", True, "sees where a value comes from"),
    ("edit", "list", "agentruntimeconfigs.kagenti.io", True, "sees it too"),
    ("edit", "update", "agentruntimeconfigs.kagenti.io", False, "the namespace layer is the platform's"),
    ("admin", "update", "agentruntimeconfigs.kagenti.io", False, "unless it delegates"),
    ("kagenti-config-editor", "update", "agentruntimeconfigs.kagenti.io", True, "the platform's own role"),
]


@pytest.fixture(scope="module")
def people(place: ControlPlane) -> ControlPlane:
    """A user for each role, bound in namespace default, with the chart's roles aggregated."""
    apply(place, [document for document in shaped("both", "pods") if document["kind"].startswith("ClusterRole")])
    for role in {role for role, *_ in RIGHTS}:
        place.kubectl("create", "rolebinding", f"is-{role}", "-n", "default", f"--clusterrole={role}", f"--user={role}")
    for role, verb, resource, granted, _ in RIGHTS:
        if granted:  # each comes from a role of its own
            wait_until(lambda: allowed(place, role, verb, resource), 20, lambda: "roles are not aggregated")  # noqa: B023
    return place


def allowed(plane: ControlPlane, user: str, verb: str, resource: str) -> bool:
    """Asks the API server's authorizer whether a user may do something in namespace default."""
    command = [str(plane.binaries.kubectl), "--kubeconfig", str(plane.kubeconfig), "auth", "can-i", verb, resource]
    done = subprocess.run([*command, "-n", "default", f"--as={user}"], capture_output=True, text=True, check=False)
    return done.stdout.strip() == "yes"


@pytest.mark.parametrize(("role", "verb", "resource", "expected", "reason"), RIGHTS)
def test_roles_write_what_the_trust_model_says(
    role: str, verb: str, resource: str, expected: bool, reason: str, people: ControlPlane
) -> None:
    """Aggregated roles, asked of the API server; ``reason`` says why."""
    assert allowed(people, role, verb, resource) is expected, reason


def test_the_webhooks_account_reads_and_nothing_else() -> None:
    """No verb that writes, no Secret, no ConfigMap, no wildcard."""
    (role,) = [d for d in shaped("both", "pods") if identity(d) == "ClusterRole/kagenti-webhook"]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} <= {"get", "list", "watch"}
    resources = {resource for rule in role["rules"] for resource in rule["resources"]}
    assert resources.isdisjoint({"secrets", "configmaps", "*"})


def test_the_xds_account_writes_our_status_and_nothing_else() -> None:
    """The port that every agent pod reaches stands on it: no Secret, no eviction, no other verb that writes."""
    (role,) = [d for d in shaped("both", "pods") if identity(d) == "ClusterRole/kagenti-xds"]
    writes = {
        (verb, resource)
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule.get("resources", rule.get("nonResourceURLs"))
        if verb not in {"get", "list", "watch"}
    }
    kinds = ("agentruntimes", "agentruntimeconfigs", "agentruntimeclusterconfigs")
    assert writes == {*(("patch", f"{kind}/status") for kind in kinds), ("create", "tokenreviews")}
    resources = {resource for rule in role["rules"] for resource in rule.get("resources", ())}
    assert resources.isdisjoint({"secrets", "configmaps", "*"})


@pytest.mark.parametrize("may_restart", [False, True])
def test_the_operators_account_writes_status_events_and_its_lease_and_evicts(may_restart: bool) -> None:
    """Whatever further roles add: no Secret, no ConfigMap; a workload only where restarts are allowed, flag and right together."""
    documents = render("--set", f"operator.allowRestart={str(may_restart).lower()}", *PROVIDED)
    label = "kagenti.io/aggregate-to-operator"
    roles = [d for d in documents if d["kind"] == "ClusterRole" and d["metadata"]["labels"].get(label) == "true"]
    writes = {
        (verb, resource)
        for role in roles
        for rule in role["rules"]
        for verb in rule["verbs"]
        for resource in rule["resources"]
        if verb not in {"get", "list", "watch"}
    }
    kinds = ("agentruntimes", "agentruntimeconfigs", "agentruntimeclusterconfigs", "agentcards")
    expected = {*(("patch", f"{kind}/status") for kind in kinds), ("create", "events"), ("create", "pods/eviction")}
    expected |= {("patch", f"{kind}webhookconfigurations") for kind in ("mutating", "validating")}  # ours, by name
    restarts = {("patch", kind) for kind in ("deployments", "statefulsets", "daemonsets")} if may_restart else set()
    assert writes == expected | restarts
    resources = {resource for role in roles for rule in role["rules"] for resource in rule["resources"]}
    assert resources.isdisjoint({"secrets", "configmaps", "*"})
    (lease,) = [d for d in documents if identity(d) == "Role/kagenti-operator"]
    assert {resource for rule in lease["rules"] for resource in rule["resources"]} == {"leases"}
    (deployment,) = [d for d in documents if identity(d) == "Deployment/kagenti-operator"]
    assert ("--allow-restart" in deployment["spec"]["template"]["spec"]["containers"][0]["args"]) is may_restart


def test_further_kinds_of_workloads_are_read_where_they_are_named() -> None:
    """``extraWorkloadKinds``."""
    documents = render(
        "--set", "extraWorkloadKinds[0].group=example.com,extraWorkloadKinds[0].resource=crewjobs", *PROVIDED
    )
    (role,) = [d for d in documents if identity(d) == "ClusterRole/kagenti-operator-workloads"]
    assert role["rules"][-1] == {"apiGroups": ["example.com"], "resources": ["crewjobs"], "verbs": ["list", "watch"]}


def test_the_xds_server_has_an_authority_of_its_own() -> None:
    """Pods carry it for life: apart from the webhook's, and the webhook sees the certificate alone."""
    documents = {identity(document): document for document in render()}
    authority = documents["Certificate/kagenti-xds-ca"]["spec"]
    assert (authority["isCA"], authority["duration"], authority["secretName"]) == (True, "87600h", "kagenti-xds-ca")
    leaf = documents["Certificate/kagenti-xds"]["spec"]
    assert leaf["dnsNames"][0] == f"kagenti-xds.{RELEASE_NAMESPACE}.svc"
    (volume,) = [
        volume
        for volume in documents["Deployment/kagenti-webhook"]["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "xds-ca"
    ]
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert volume["secret"]["secretName"] == leaf["secretName"]


MONITORED = (
    *PROVIDED,
    "--set",
    "monitoring.serviceMonitor=true,monitoring.prometheusRule=true,monitoring.dashboard=true,monitoring.labels.release=prom",
)
DEPLOYMENTS = [document for document in shaped("both", "pods") if document["kind"] == "Deployment"]
MONITORING_KINDS = {"ServiceMonitor", "PrometheusRule", "ConfigMap"}


def test_monitoring_is_off_until_it_is_asked_for() -> None:
    """A cluster without the Prometheus operator does not serve its kinds; a ConfigMap is there for the dashboard alone."""
    assert MONITORING_KINDS.isdisjoint(document["kind"] for document in shaped("both", "pods"))
    assert [d["metadata"]["name"] for d in render(*MONITORED) if d["kind"] == "ConfigMap"] == ["kagenti-dashboard"]


def test_every_process_is_scraped_where_it_shows_its_figures() -> None:
    """ServiceMonitor → Service → port of the pod, by labels and names that meet."""
    documents = {identity(document): document for document in render(*MONITORED)}
    for deployment in DEPLOYMENTS:
        name = deployment["metadata"]["name"]
        service, monitor = documents[f"Service/{name}-metrics"], documents[f"ServiceMonitor/{name}"]
        template = deployment["spec"]["template"]
        assert monitor["metadata"]["labels"]["release"] == "prom"
        assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        others = [d for d in documents.values() if d["kind"] == "Service" and d is not service]
        assert not [
            d for d in others if monitor["spec"]["selector"]["matchLabels"].items() <= d["metadata"]["labels"].items()
        ]
        (port,), (endpoint,) = service["spec"]["ports"], monitor["spec"]["endpoints"]
        assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
        (container,) = template["spec"]["containers"]
        assert {p["name"]: p["containerPort"] for p in container["ports"]}[port["targetPort"]] == port["port"]
        assert container["readinessProbe"]["httpGet"]["port"] == port["targetPort"]
        assert endpoint.get("scheme", "http") == container["readinessProbe"]["httpGet"]["scheme"].lower()


def test_rules_and_dashboard_are_rendered_as_they_stand_in_their_files() -> None:
    """Braces of Prometheus and Grafana survive helm."""
    documents = {identity(document): document for document in render(*MONITORED)}
    (alerts,) = parsed((CHART / "monitoring" / "alerts.yaml").read_text())
    assert documents["PrometheusRule/kagenti"]["spec"] == alerts
    assert orjson.loads(documents["ConfigMap/kagenti-dashboard"]["data"]["kagenti.json"]) == orjson.loads(
        (CHART / "monitoring" / "dashboard.json").read_bytes()
    )


def test_the_api_server_adds_nothing_to_what_monitoring_needs(place: ControlPlane) -> None:
    """Services, policies and the dashboard; the kinds of the Prometheus operator are not served here."""
    foreign = {"ServiceMonitor", "PrometheusRule"}
    documents = [document for document in render(*MONITORED) if document["kind"] not in foreign]
    stored = {identity(document): own_part(document) for document in apply(place, documents, "--dry-run=server")}
    assert stored == {identity(document): own_part(document) for document in documents}


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=identity)
def test_every_process_is_confined_and_highly_available(deployment: JSON) -> None:
    """Security contexts as in Pod Security's restricted, and what keeps two replicas from going at once."""
    spec, name = deployment["spec"]["template"]["spec"], deployment["metadata"]["name"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    for container in (*spec["containers"], *spec.get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]
        assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys()
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert {volume.keys() - {"name"} == {"secret"} for volume in spec["volumes"]} == {True}
    assert spec["serviceAccountName"] == name
    assert deployment["spec"]["replicas"] >= 2  # a roll-out and a lost node leave one
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    spread = spec["topologySpreadConstraints"]
    assert [rule["topologyKey"] for rule in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    labels = deployment["spec"]["selector"]["matchLabels"]
    assert {tuple(rule["labelSelector"]["matchLabels"].items()) for rule in spread} == {tuple(labels.items())}
    documents = {identity(document): document for document in shaped("both", "pods")}
    budget = documents[f"PodDisruptionBudget/{name}"]["spec"]
    assert budget == {"maxUnavailable": 1, "selector": {"matchLabels": labels}}
    policy = documents[f"NetworkPolicy/{name}"]["spec"]
    assert policy["podSelector"]["matchLabels"] == labels


def test_the_priority_class_is_passed_or_left_out() -> None:
    """Others' pods wait for the webhook and the xDS server; a class of one's own can be named for each."""
    for deployment in DEPLOYMENTS:
        component = deployment["metadata"]["name"].removeprefix("kagenti-")
        for given in ("mine", ""):
            (found,) = [
                d for d in render("--set", f"{component}.priorityClassName={given}", *PROVIDED)
                if identity(d) == identity(deployment)
            ]  # fmt: skip
            assert found["spec"]["template"]["spec"].get("priorityClassName", "") == given


# What each process may be reached at: (name, monitored) → [(from, ports)]; None is anybody.
MANAGED = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"kagenti.io/managed": "true"}}}
REACHED = {
    ("kagenti-webhook", False): [(None, [9443])],
    ("kagenti-webhook", True): [(None, [9443])],
    ("kagenti-operator", False): [],
    ("kagenti-operator", True): [(None, [15013])],
    ("kagenti-xds", False): [([MANAGED], [15010])],
    ("kagenti-xds", True): [([MANAGED], [15010]), (None, [15011])],
}


@pytest.mark.parametrize("monitored", [False, True])
def test_ports_are_open_to_those_who_need_them(monitored: bool) -> None:
    """Figures are open where they are scraped only; the xDS port to injected pods only."""
    for document in render(*MONITORED) if monitored else shaped("both", "pods"):
        if document["kind"] == "NetworkPolicy":
            spec = document["spec"]
            assert spec["policyTypes"] == ["Ingress"]
            found = [(rule.get("from"), [port["port"] for port in rule["ports"]]) for rule in spec.get("ingress", ())]
            assert found == REACHED[document["metadata"]["name"], monitored]


def test_helm_installs_upgrades_and_uninstalls(place: ControlPlane) -> None:
    """With the real helm on the real API server: an upgrade with the same values changes no object of ours."""
    for document in shaped("both", "pods"):
        scope = ("-n", RELEASE_NAMESPACE) if document["metadata"].get("namespace") else ()
        place.kubectl("delete", document["kind"], document["metadata"]["name"], "--ignore-not-found", *scope)
    common = ("--kubeconfig", str(place.kubeconfig), "-n", RELEASE_NAMESPACE)
    values = (*PROVIDED, "--set", "clusterConfig.identity.spiffe.trustDomain=prod.example.org")

    def succeed(*arguments: str) -> str:
        done = run_helm(*arguments, *common)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        said = succeed("install", "kagenti", str(CHART), *values)
        assert "helm test kagenti" in said
        assert "kubectl label namespace" in said
        wait_until(lambda: _aggregated(place), 20, lambda: "a controller has still to write our aggregated roles")
        versions = _versions(place)
        succeed("upgrade", "kagenti", str(CHART), *values)
        assert _versions(place) == versions
        succeed("upgrade", "kagenti", str(CHART), *values, "--set", "webhook.triggerMode=label")
        succeed("rollback", "kagenti", "1")
        configuration = orjson.loads(
            place.kubectl("get", "mutatingwebhookconfiguration", "kagenti-injector", "-o", "json")
        )
        assert [entry["name"] for entry in configuration["webhooks"]] == [
            "inject-label.kagenti.io",
            "inject-cr.kagenti.io",
        ]
    finally:
        run_helm("uninstall", "kagenti", *common)
    kept = orjson.loads(place.kubectl("get", "agentruntimeclusterconfig", "default", "-o", "json"))
    assert kept["spec"] == {"identity": {"spiffe": {"trustDomain": "prod.example.org"}}}
    left = place.kubectl("get", "mutatingwebhookconfiguration,validatingwebhookconfiguration", "-o", "name").split()
    assert left == []


def _aggregated(plane: ControlPlane) -> bool:
    """Whether the aggregated roles of ours have the rules of all that they select."""
    roles = [
        role
        for role in orjson.loads(plane.kubectl("get", "clusterroles", "-o", "json"))["items"]
        if "kagenti" in role["metadata"]["name"]
    ]
    whole = []
    for role in roles:
        for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
            wanted = selector["matchLabels"].items()
            selected = [each for each in roles if wanted <= (each["metadata"].get("labels") or {}).items()]
            rules = [rule for each in selected for rule in each.get("rules") or ()]
            whole.append(bool(rules) and all(rule in (role.get("rules") or ()) for rule in rules))
    return bool(whole) and all(whole)


def _versions(plane: ControlPlane) -> dict[str, str]:
    kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration,clusterrole,service,agentruntimeclusterconfig"
    listed = orjson.loads(plane.kubectl("get", kinds, "-A", "-o", "json"))["items"]
    return {
        identity(item): item["metadata"]["resourceVersion"]
        for item in listed
        if "kagenti" in item["metadata"]["name"] or item["metadata"]["name"] == "default"
    }

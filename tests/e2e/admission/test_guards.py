"""The chart's ValidatingAdmissionPolicies, each rule tried as an attack on a running injected pod (spec 07).

Who attacks may write pods in the namespace; the guards hold by the API server alone, so the webhook plays no part in them.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import pod
from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.access import Plane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
Install = Callable[..., Installed]
Team = Callable[..., str]
POLICY = "kagenti-guard-pods"
PLATFORM = ("guards.platformGroups={platform,system:masters}",)


@pytest.fixture
def guarded(install: Install, api: ApiClient, team: Team) -> Callable[..., JSON]:
    """Gives pods as the API server has them, once the guards are in force."""
    install(mode="both")

    def give(*, label: str | None = "enabled", enrolled: bool = False) -> JSON:
        namespace = team(enrolled=enrolled)
        answer = api.create(pod(namespace, "weather", label=label))
        assert answer.ok, answer.message
        return api.get("Pod", namespace, "weather").body

    return give


def _path(found: JSON, subresource: str = "") -> str:
    metadata = found["metadata"]
    base = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
    return f"{base}/{subresource}" if subresource else base


def _refused(api: ApiClient, found: JSON, patch: JSON, says: str, *, subresource: str = "") -> None:
    """Holds that the guard refuses that merge patch with these words; a new policy is in force within moments."""
    answers: list[Answer] = []

    def denied() -> bool:
        answers.append(api.request("PATCH", _path(found, subresource), patch, dryRun="All"))
        return answers[-1].status == 403 and POLICY in answers[-1].message

    wait_until(denied, 10, lambda: f"not refused by {POLICY}: {answers[-1].status} {answers[-1].message}")
    assert says in answers[-1].message


RECEIPT = {"kagenti.io/injected": "{}"}


@pytest.mark.parametrize("subresource", ["", "status", "resize", "ephemeralcontainers"])
@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"annotations": RECEIPT}, "kagenti.io/injected"),
        ({"annotations": {"kagenti.io/injected": None}}, "cannot be added, changed or removed"),
        ({"annotations": {"config.kagenti.io/envoy.yaml": "admin: {}"}}, "config.kagenti.io/*"),
        ({"annotations": {"config.kagenti.io/new": "x"}}, "config.kagenti.io/*"),
        ({"labels": {"kagenti.io/managed": None}}, "kagenti.io/managed"),
        ({"labels": {"kagenti.io/managed": "false"}}, "kagenti.io/managed"),
    ],
    ids=["receipt-changed", "receipt-removed", "file-changed", "file-added", "managed-removed", "managed-changed"],
)
def test_what_was_said_at_creation_stays(
    metadata: JSON, says: str, subresource: str, guarded: Callable[..., JSON], api: ApiClient
) -> None:
    """Through the pod itself it is refused; a subresource refuses it or, as the API server does, leaves metadata alone."""
    found = guarded()
    if subresource in ("", "status"):
        _refused(api, found, {"metadata": metadata}, says, subresource=subresource)
        return
    answer = api.request("PATCH", _path(found, subresource), {"metadata": metadata}, dryRun="All")
    assert not answer.ok or _ours(answer.body) == _ours(found)


def _ours(found: JSON) -> JSON:
    metadata = found["metadata"]
    annotations = {k: v for k, v in metadata.get("annotations", {}).items() if "kagenti.io/" in k}
    return annotations, metadata.get("labels", {}).get("kagenti.io/managed")


@pytest.mark.parametrize(
    "metadata", [{"annotations": RECEIPT}, {"labels": {"kagenti.io/managed": "true"}}], ids=["receipt", "managed"]
)
def test_a_bare_pod_cannot_claim_to_be_injected(metadata: JSON, guarded: Callable[..., JSON], api: ApiClient) -> None:
    """Nobody adds our keys to a running pod that was not injected."""
    found = guarded(label=None)
    assert "kagenti.io/injected" not in found["metadata"].get("annotations", {})
    _refused(api, found, {"metadata": metadata}, "cannot be added")


def test_the_image_of_a_sidecar_stays(guarded: Callable[..., JSON], api: ApiClient) -> None:
    """A running pod's images can be changed in Kubernetes; those of our containers cannot, the application's still can."""
    found = guarded()
    containers = copy.deepcopy(found["spec"]["initContainers"])
    for container in containers:
        if container["name"] == "envoy-proxy":
            container["image"] = "evil/envoy:1"
    _refused(api, found, {"spec": {"initContainers": containers}}, "image of a sidecar")
    own = copy.deepcopy(found["spec"]["containers"])
    own[0]["image"] = "registry.example/app:2"
    answer = api.request("PATCH", _path(found), {"spec": {"containers": own}}, dryRun="All")
    assert answer.ok, answer.message


def _debugger(**fields: JSON) -> JSON:
    return {"spec": {"ephemeralContainers": [{"name": "debug", "image": "busybox", **fields}]}}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"volumeMounts": [{"name": "kagenti-shared", "mountPath": "/shared"}]}, "holds credentials"),
        ({"volumeMounts": [{"name": "kagenti-tokens", "mountPath": "/t"}]}, "holds credentials"),
        ({"targetContainerName": "envoy-proxy"}, "targetContainerName"),
        ({"targetContainerName": "spiffe-helper"}, "targetContainerName"),
        ({"securityContext": {"privileged": True}}, "privileged"),
        ({"securityContext": {"capabilities": {"add": ["NET_ADMIN"]}}}, "NET_ADMIN"),
        ({"securityContext": {"capabilities": {"add": ["CAP_SYS_PTRACE"]}}}, "SYS_PTRACE"),
        ({"securityContext": {"capabilities": {"add": ["ALL"]}}}, "ALL"),
        ({"securityContext": {"runAsUser": "proxy"}}, "proxy's user"),
    ],
    ids=["shared", "tokens", "envoy", "helper", "privileged", "net-admin", "sys-ptrace", "all", "proxy-user"],
)
def test_a_debug_container_does_not_get_at_our_credentials(
    fields: JSON, says: str, guarded: Callable[..., JSON], api: ApiClient
) -> None:
    """An ephemeral container is added by pods/ephemeralcontainers, which no mutating webhook of ours sees."""
    found = guarded()
    if fields.get("securityContext", {}).get("runAsUser") == "proxy":
        (envoy,) = [each for each in found["spec"]["initContainers"] if each["name"] == "envoy-proxy"]
        fields = {"securityContext": {"runAsUser": envoy["securityContext"]["runAsUser"]}}
    _refused(api, found, _debugger(**fields), says, subresource="ephemeralcontainers")


def test_an_ordinary_debug_container_is_let_in(guarded: Callable[..., JSON], api: ApiClient) -> None:
    """As kubectl debug --profile=baseline makes it, beside the application; and one in a pod that is not ours as ever."""
    found = guarded()
    harmless = _debugger(
        targetContainerName=found["spec"]["containers"][0]["name"], securityContext={"runAsUser": 1000}
    )
    for target, body in ((found, harmless), (guarded(label=None), _debugger(securityContext={"privileged": True}))):
        answer = api.request("PATCH", _path(target, "ephemeralcontainers"), body)
        assert answer.ok, answer.message
    again = api.request("PATCH", _path(found), {"metadata": {"labels": {"team": "a"}}})
    assert again.ok, again.message


@pytest.mark.parametrize(
    ("mode", "unseen"),
    [("label", {"enrolled", "neither"}), ("cr", {"labelled", "neither"}), ("both", {"neither"})],
    ids=["label", "cr", "both"],
)
def test_a_claim_that_no_entry_sees_is_warned_of(
    mode: str, unseen: set[str], install: Install, api: ApiClient, team: Team
) -> None:
    """Where no webhook of ours is called, our keys prove nothing; kubectl says so, and the pod is let in."""
    install(mode=mode)
    outside = team(enrolled=False)
    pods = {
        "enrolled": pod(team(enrolled=True), "claims"),
        "labelled": pod(outside, "claims", label="enabled"),
        "neither": pod(outside, "claims"),
    }

    def warned(claiming: JSON) -> bool:
        answer = api.create(claiming, dry_run=True)
        assert answer.ok, answer.message
        return any("no webhook of kagenti sees it" in warning for warning in answer.warnings)

    def told() -> set[str]:
        marked = {
            name: {**found, "metadata": {**found["metadata"], "annotations": RECEIPT}} for name, found in pods.items()
        }
        return {name for name, found in marked.items() if warned(found)}

    # The API server reads policies anew once a second: until then it goes by those of the mode before.
    wait_until(lambda: told() == unseen, 10, lambda: f"in mode {mode} warned of {told()}")


@pytest.fixture
def tenant(install: Install, cluster: Plane) -> Iterator[Callable[..., str]]:
    """Runs kubectl as somebody who may write namespaces and is of no platform group; returns what it says."""
    install(mode="both", extra=PLATFORM)
    binding = ("clusterrolebinding", "dave-namespaces")
    cluster.kubectl("create", *binding, "--clusterrole=cluster-admin", "--user=dave")

    def run(*arguments: str, stdin: JSON = None) -> str:
        text = None if stdin is None else orjson.dumps(stdin).decode()
        try:
            return cluster.kubectl(*arguments, "--as=dave", stdin=text)
        except RuntimeError as refusal:
            return str(refusal)

    yield run
    cluster.kubectl("delete", *binding)
    for kind in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", kind, "kagenti-guard-namespaces")


def test_only_the_platform_enrols(tenant: Callable[..., str], team: Team, cluster: Plane) -> None:
    """Neither label is added, changed or removed by others; every other label is theirs."""
    enrolled, other = team(enrolled=True), team(enrolled=False)
    says = "are set by the groups in guards.platformGroups"
    said: list[str] = []

    def refused() -> bool:
        said.append(tenant("label", "namespace", other, "kagenti.io/enrolled=true", "--dry-run=server"))
        return says in said[-1]

    wait_until(refused, 10, lambda: f"not refused: {said[-1]}")
    assert says in tenant("label", "namespace", enrolled, "kagenti.io/enrolled-", "--dry-run=server")
    assert says in tenant(
        "label", "namespace", enrolled, "kagenti.io/enrolled=false", "--overwrite", "--dry-run=server"
    )
    assert says in tenant("label", "namespace", other, "kagenti.io/break-glass=me", "--dry-run=server")
    labels = {"kagenti.io/enrolled": "true"}
    new = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-made", "labels": labels}}
    assert says in tenant("create", "--dry-run=server", "-f", "-", stdin=new)
    assert "labeled" in tenant("label", "namespace", enrolled, "cost-centre=7", "--dry-run=server")
    assert "labeled" in cluster.kubectl("label", "namespace", other, "kagenti.io/enrolled=true", "--dry-run=server")

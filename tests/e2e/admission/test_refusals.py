"""Each refusal and each warning of spec 04, with its message, at the real API server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.e2e.admission.manifests import CONTAINER, pod
from tests.e2e.admission.observed import injected, receipt
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received


@dataclass(frozen=True)
class Case:
    """A pod that is refused or warned of: what its message must name."""

    why: str
    code: str
    says: tuple[str, ...]
    spec: dict[str, JSON] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)


def _container(**changes: JSON) -> dict[str, JSON]:
    return {"containers": [{**CONTAINER, **changes}]}


RESERVED = {"name": "envoy-proxy", "image": "evil"}
ISTIO = {"name": "istio-proxy", "image": "docker.io/istio/proxyv2:1.29.0", "args": ["proxy", "sidecar"]}
LINKERD = {"name": "linkerd-proxy", "image": "cr.l5d.io/linkerd/proxy:edge-26.1.1"}
LINKERD_INIT = {"name": "linkerd-init", "image": "cr.l5d.io/linkerd/proxy-init:v2.4.1"}

REFUSALS = [
    Case(
        "app runs as the proxy's user", "ProxyUid", ("1337", "agent"), _container(securityContext={"runAsUser": 1337})
    ),
    Case("the pod runs as the proxy's user", "ProxyUid", ("1337",), {"securityContext": {"runAsUser": 1337}}),
    Case("app takes Envoy's port", "PortCollision", ("15123",), _container(ports=[{"containerPort": 15123}])),
    Case("app takes the status port", "PortCollision", ("15021",), _container(ports=[{"containerPort": 15021}])),
    Case("a container of our name", "ReservedName", ("envoy-proxy",), {"containers": [CONTAINER, RESERVED]}),
    Case(
        "a volume of our name",
        "ReservedName",
        ("kagenti-svid",),
        {"volumes": [{"name": "kagenti-svid", "emptyDir": {}}], "containers": [CONTAINER]},
    ),
    Case("an Istio sidecar", "ForeignInterceptor", ("istio-proxy", "ambient"), {"containers": [CONTAINER, ISTIO]}),
    Case(
        "a Linkerd sidecar",
        "ForeignInterceptor",
        ("linkerd",),
        {"containers": [CONTAINER, LINKERD], "initContainers": [LINKERD_INIT]},
    ),
    Case(
        "a namespace under PodSecurity restricted",
        "PodSecurity",
        ("NET_ADMIN", "restricted"),
        namespace_labels={"pod-security.kubernetes.io/enforce": "restricted"},
    ),
    Case(
        "a namespace under PodSecurity baseline",
        "PodSecurity",
        ("NET_ADMIN", "baseline"),
        namespace_labels={"pod-security.kubernetes.io/enforce": "baseline"},
    ),
    Case(
        "a control character in a value that we use",
        "InvalidValue",
        ("outbound-ports-exclude",),
        annotations={"kagenti.io/outbound-ports-exclude": "8080\n9090"},
    ),
]

TCP_PROBE = {"tcpSocket": {"port": 8081}}
WARNINGS = [
    Case(
        "privileged app", "InterceptionNotEnforced", ("privileged",), _container(securityContext={"privileged": True})
    ),
    Case(
        "app with NET_ADMIN",
        "InterceptionNotEnforced",
        ("NET_ADMIN",),
        _container(securityContext={"capabilities": {"add": ["NET_ADMIN"]}}),
    ),
    Case(
        "shared process namespace",
        "InterceptionNotEnforced",
        ("shareProcessNamespace",),
        {"shareProcessNamespace": True},
    ),
    Case("hostPID", "InterceptionNotEnforced", ("hostPID",), {"hostPID": True}),
    Case("a tcp probe", "probe", ("tcp",), _container(readinessProbe=TCP_PROBE)),
    Case(
        "envFrom may hold a name of ours",
        "envFrom",
        ("agent",),
        _container(envFrom=[{"configMapRef": {"name": "settings"}}]),
    ),
]


def _made(api: ApiClient, namespace: str, case: Case) -> Any:
    manifest = pod(namespace, "weather", label="enabled", **case.spec)
    manifest["metadata"]["annotations"] = case.annotations
    return api.create(manifest, dry_run=True)


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.why)
def test_refused_with_reason_and_field(
    case: Case, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The pod is denied; the message has the reason code and names what is at fault."""
    install(mode="both")
    answer = _made(api, team(labels=case.namespace_labels), case)
    assert not answer.ok
    assert case.code in answer.message
    for word in case.says:
        assert word in answer.message


@pytest.mark.parametrize("case", WARNINGS, ids=lambda case: case.why)
def test_admitted_with_a_warning(
    case: Case, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The pod is injected, and a warning says what is less than it seems."""
    install(mode="both")
    answer = _made(api, team(), case)
    assert answer.ok, answer.message
    assert injected(answer.body)
    told = " | ".join(answer.warnings)
    assert case.code.lower() in told.lower(), told
    for word in case.says:
        assert word.lower() in told.lower(), told


@pytest.mark.parametrize("case", WARNINGS[:4], ids=lambda case: case.why)
def test_mandatory_refuses_what_cannot_be_enforced(
    case: Case, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """Under Mandatory a pod that can undo the interception is denied."""
    install(mode="both")
    namespace = team()
    layer = {
        "apiVersion": "kagenti.io/v1alpha1",
        "kind": "AgentRuntimeConfig",
        "metadata": {"name": "default", "namespace": namespace},
    }
    assert api.create({**layer, "spec": {"policy": {"injection": "Mandatory"}}}).ok
    answer = _made(api, namespace, case)
    assert not answer.ok
    assert "InterceptionNotEnforced" in answer.message


def test_an_unknown_future_field_survives(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """Fields that our models do not know come out as they went in."""
    install(mode="both")
    spec = {"schedulingGates": [{"name": "example.com/wait"}], "hostnameOverride": "weather.example"}
    answer = api.create(pod(team(), "weather", label="enabled", **spec))
    assert answer.ok, answer.message
    assert answer.body["spec"]["hostnameOverride"] == "weather.example"
    assert answer.body["spec"]["schedulingGates"] == [{"name": "example.com/wait"}]


def test_a_pod_read_back_is_left_as_it_is(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A defaulted, injected pod that is admitted once more keeps every byte of ours: the second patch is empty."""
    install(mode="both")
    namespace = team()
    first = api.create(pod(namespace, "weather", label="enabled"))
    assert first.ok, first.message
    api.delete("Pod", namespace, "weather")
    wait_until(lambda: api.get("Pod", namespace, "weather").status == 404, 20, lambda: "the pod stays")
    again = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: first.body["metadata"][key] for key in ("name", "namespace", "labels", "annotations")},
        "spec": {key: value for key, value in first.body["spec"].items() if key != "nodeName"},
    }
    second = api.create(again)
    assert second.ok, second.message
    assert (
        second.body["metadata"]["annotations"]["kagenti.io/injected-at"]
        == first.body["metadata"]["annotations"]["kagenti.io/injected-at"]
    )
    assert second.body["spec"]["initContainers"] == first.body["spec"]["initContainers"]
    assert receipt(second.body) is not None


def test_a_forged_receipt_on_an_untriggered_pod_is_dropped(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A pod that is not triggered leaves admission without our receipt, and the author is told."""
    install(mode="both")
    manifest = pod(team(), "weather")
    manifest["metadata"]["annotations"] = {"kagenti.io/injected": "{}", "config.kagenti.io/envoy.yaml": "{}"}
    manifest["metadata"]["labels"]["kagenti.io/managed"] = "true"
    answer = api.create(manifest, dry_run=True)
    assert answer.ok, answer.message
    marks = {**(answer.body["metadata"].get("annotations") or {}), **answer.body["metadata"]["labels"]}
    assert not any(key.startswith(("config.kagenti.io/", "kagenti.io/injected", "kagenti.io/managed")) for key in marks)
    assert any("ReceiptDropped" in warning for warning in answer.warnings)


def test_a_forged_receipt_on_a_triggered_pod_is_never_trusted(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A receipt in front of an envoy-proxy of one's own: every field of ours is set again."""
    install(mode="both")
    manifest = pod(team(), "weather", label="enabled", initContainers=[{**RESERVED, "restartPolicy": "Always"}])
    manifest["metadata"]["annotations"] = {"kagenti.io/injected": '{"containers":["envoy-proxy"]}'}
    answer = api.create(manifest, dry_run=True)
    assert answer.ok, answer.message
    assert injected(answer.body)
    envoy = next(found for found in answer.body["spec"]["initContainers"] if found["name"] == "envoy-proxy")
    assert "evil" not in envoy["image"]

"""Each refusal and each warning of spec 04, with its message, at the real API server."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from kagenti.core.inject import TOUCH_LIST
from tests.e2e.admission.manifests import CONTAINER, config, pod, workload
from tests.e2e.admission.observed import injected, receipt
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received


@dataclass(frozen=True)
class Case:
    """A pod that is refused or warned of: what its message must name; ``layer`` is the namespace's configuration."""

    why: str
    code: str
    says: tuple[str, ...]
    spec: dict[str, JSON] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    namespace_labels: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    layer: dict[str, JSON] = field(default_factory=dict)


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
    Case(
        "a mount of our name",
        "ReservedName",
        ("kagenti-shared", "volumeMounts[0]"),
        {
            "volumes": [{"name": "kagenti-shared", "emptyDir": {}}],
            "containers": [{**CONTAINER, "volumeMounts": [{"name": "kagenti-shared", "mountPath": "/s"}]}],
        },
        annotations={"kagenti.io/injected": "{}"},
    ),
    Case(
        "a native sidecar takes Envoy's port",
        "PortCollision",
        ("15124", "spec.initContainers[0].ports[0]"),
        {
            "initContainers": [
                {"name": "side", "image": "i", "restartPolicy": "Always", "ports": [{"containerPort": 15124}]}
            ]
        },
    ),
    Case(
        "a port named as ours",
        "PortCollision",
        ("envoy-status",),
        _container(ports=[{"containerPort": 8081, "name": "envoy-status"}]),
    ),
    Case(
        "the processor's port with AuthBridge",
        "PortCollision",
        ("9090",),
        _container(ports=[{"containerPort": 9090}]),
        layer={"injection": {"tokenExchange": "AuthBridge"}},
    ),
    Case(
        "a receipt that is too large",
        "TooLarge",
        ("32768", "shorten"),
        layer={"trace": {"resourceAttributes": {f"key{number}": "x" * 2000 for number in range(18)}}},
    ),
    Case(
        "a probe outside of the locked paths",
        "ConfigInvalid",
        ("/live", "bypassPaths", "livenessProbe"),
        _container(livenessProbe={"httpGet": {"path": "/live", "port": 8081}}),
        layer={"policy": {"locked": ["identity.inbound.validation.bypassPaths"]}},
    ),
    Case(
        "opting out of spiffe-helper alone",
        "ConfigInvalid",
        ("kagenti.io/spiffe-helper-inject", "wait for ever"),
        labels={"kagenti.io/spiffe-helper-inject": "false"},
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
HTTPS_PROBE = {"httpGet": {"path": "/", "port": 8081, "scheme": "HTTPS"}}
JAEGER = {"trace": {"exporters": [{"type": "jaeger", "endpoint": "http://jaeger:14250/"}]}}
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
    Case(
        "root, which has SETUID",
        "InterceptionNotEnforced",
        ("root with SETUID", "runAsUser"),
        _container(securityContext={"runAsUser": 0}),
    ),
    Case("a tcp probe", "probe", ("tcp", "exclude port 8081"), _container(readinessProbe=TCP_PROBE)),
    Case("a grpc probe", "probe", ("grpc", "exclude port 8081"), _container(readinessProbe={"grpc": {"port": 8081}})),
    Case("an https probe", "probe", ("https", "exclude port 8081"), _container(readinessProbe=HTTPS_PROBE)),
    Case("the old port of jaeger", "jaeger", ("14250", "use 4317"), layer=JAEGER),
    Case(
        "an annotation that names no port",
        "inbound-ports-exclude",
        ("'abc'", "no port"),
        annotations={"kagenti.io/inbound-ports-exclude": "8081,abc"},
    ),
    Case(
        "envFrom may hold a name of ours",
        "envFrom",
        ("agent",),
        _container(envFrom=[{"configMapRef": {"name": "settings"}}]),
    ),
]


def _made(api: ApiClient, namespace: str, case: Case) -> Any:
    """Returns the answer, asked again while the namespace's configuration is on its way to the webhook."""
    if case.layer:
        made = api.create(config(namespace, **case.layer))
        assert made.ok, made.message
    manifest = pod(namespace, "weather", label="enabled", labels=case.labels, **case.spec)
    manifest["metadata"]["annotations"] = case.annotations
    answers = [api.create(manifest, dry_run=True)]

    def in_force() -> bool:
        answers.append(api.create(manifest, dry_run=True))
        return case.code.lower() in f"{answers[-1].message} {answers[-1].warnings}".lower()

    if case.layer:
        wait_until(in_force, 10, lambda: f"{answers[-1].message} {answers[-1].warnings}")
    return answers[-1]


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


WEAK = [case for case in WARNINGS if case.code == "InterceptionNotEnforced"]


@pytest.mark.parametrize("case", WEAK, ids=lambda case: case.why)
def test_mandatory_refuses_what_cannot_be_enforced(
    case: Case, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """Under Mandatory a pod that can undo the interception is denied."""
    install(mode="both")
    namespace = team()
    assert api.create(config(namespace, policy={"injection": "Mandatory"})).ok
    wait_until(lambda: injected(api.create(pod(namespace, "probe"), dry_run=True).body), 10, lambda: "not in force")
    answer = _made(api, namespace, case)
    assert not answer.ok
    assert "InterceptionNotEnforced" in answer.message
    for word in case.says:
        assert word.lower() in answer.message.lower()


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


def test_nothing_but_the_touch_list_changes(
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster_config: Callable[[JSON], None],
) -> None:
    """What the API server stores of an injected pod differs from the same pod without us in the published places only."""
    install(mode="both")
    namespace = team()
    scraped = {"integration": {"prometheus": {"enabled": True, "port": 9000}}}
    cluster_config({"injection": {"imagePullSecrets": ["mirror"]}, "trace": scraped})
    extra = {"hostnameOverride": "weather.example", "initContainers": [{"name": "setup", "image": "i"}]}
    bare = api.create(pod(namespace, "weather", **extra), dry_run=True)
    ours: list[JSON] = []

    def in_force() -> bool:
        ours.append(api.create(pod(namespace, "weather", label="enabled", **extra), dry_run=True).body)
        return "imagePullSecrets" in ours[-1]["spec"]

    wait_until(in_force, 10, lambda: "the configuration is not in force")
    assert _places(bare.body, ours[-1]) == {line.partition(":")[0] for line in TOUCH_LIST}


def _places(bare: JSON, given: JSON) -> set[str]:
    """Returns where two pods differ, in the words of the touch list; own labels and the server's marks left aside."""
    found = {f"metadata.{key}" for key in _different(bare["metadata"], given["metadata"]) if key not in _SERVERS}
    found |= {f"spec.{key}" for key in _different(bare["spec"], given["spec"])} - {"spec.containers"}
    for one, other in zip(bare["spec"]["containers"], given["spec"]["containers"], strict=True):
        found |= {f"spec.containers[*].{key}" for key in _different(_unnamed(one), _unnamed(other))}
    own = [item["name"] for item in given["spec"]["initContainers"][4:]]
    assert own == [item["name"] for item in bare["spec"]["initContainers"]]
    return found


_SERVERS = ("uid", "creationTimestamp", "managedFields")


def _different(one: JSON, other: JSON) -> set[str]:
    return {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}


def _unnamed(container: JSON) -> JSON:
    """Returns a container whose service-account mount, named by chance, is named alike."""
    mounts = [{**mount, "name": mount["name"].partition("-access-")[0]} for mount in container["volumeMounts"]]
    return {**container, "volumeMounts": mounts}


def test_an_injected_job_completes(install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]) -> None:
    """Our sidecars are native ones: the Job controller counts the pod as succeeded when the app has ended."""
    install(mode="both")
    namespace = team()
    answer = api.create(workload("Job", namespace, "weather", labels={"kagenti.io/inject": "enabled"}))
    assert answer.ok, answer.message

    def complete() -> bool:
        status = api.get("Job", namespace, "weather").body.get("status") or {}
        return "Complete" in [found["type"] for found in status.get("conditions") or () if found["status"] == "True"]

    wait_until(complete, 30, lambda: str(api.items("Pod", namespace)))
    assert [injected(found) for found in api.items("Pod", namespace)] == [True]

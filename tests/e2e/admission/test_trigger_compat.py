"""The parity law of spec 03: one pod, one set of layers, whichever trigger and mode: the same pod but for the receipt's trigger."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import config, pod, runtime, workload
from tests.e2e.admission.observed import injected, receipt
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
KINDS = ("Pod", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob")
ENABLED = {"kagenti.io/inject": "enabled"}


@dataclass(frozen=True)
class Way:
    """How a pod is triggered: in which mode, by a label, by an AgentRuntime, or with both; what the receipt then says."""

    mode: str
    label: bool
    runtime: bool
    trigger: str

    def __str__(self) -> str:
        marks = "+".join(name for name, there in (("label", self.label), ("runtime", self.runtime)) if there)
        return f"{self.mode}: {marks}"


# One mode after the other: switching the installation takes a second.
WAYS = (
    Way("label", label=True, runtime=False, trigger="Label"),
    Way("cr", label=False, runtime=True, trigger="AgentRuntime"),
    Way("cr", label=True, runtime=True, trigger="AgentRuntime"),
    Way("both", label=True, runtime=False, trigger="Label"),
    Way("both", label=False, runtime=True, trigger="AgentRuntime"),
    Way("both", label=True, runtime=True, trigger="Label"),
)
SETTINGS = {"identity": {"inbound": {"validation": {"audience": "weather"}}}, "trace": {"sampling": {"rate": 0.5}}}


def _first_pod(api: ApiClient, namespace: str, name: str) -> JSON:
    """Returns the first pod that a controller made for that app."""
    found: list[JSON] = []

    def present() -> bool:
        found[:] = api.items("Pod", namespace, labelSelector=f"app={name}")
        return bool(found)

    wait_until(present, 30, lambda: f"no pod of {name} in {namespace}")
    return found[0]


def _run_now(api: ApiClient, namespace: str, name: str) -> None:
    """Creates a CronJob's Job by hand, as ``kubectl create job --from`` does, with the controller reference."""
    cron = api.get("CronJob", namespace, name).body
    owner = {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "name": name,
        "uid": cron["metadata"]["uid"],
        "controller": True,
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"{name}-now", "namespace": namespace, "ownerReferences": [owner]},
        "spec": cron["spec"]["jobTemplate"]["spec"],
    }
    answer = api.create(job)
    assert answer.ok, answer.message


def _comparable(pod: JSON) -> JSON:
    """Strips what differs between any two pods (names, UIDs, hashes, times) and the receipt's trigger."""
    marks = {key: value for key, value in pod["metadata"]["annotations"].items() if key != "kagenti.io/injected-at"}
    written = orjson.loads(marks["kagenti.io/injected"])
    written.pop("trigger")
    marks["kagenti.io/injected"] = orjson.dumps(written).decode()
    drop = (
        "kagenti.io/inject",
        "statefulset.kubernetes.io",
        "apps.kubernetes.io",
        "pod-template-hash",
        "controller-revision-hash",
        "controller-uid",
        "batch.kubernetes.io",
    )
    labels = {key: value for key, value in pod["metadata"]["labels"].items() if not key.startswith(drop)}
    spec = dict(pod["spec"])
    for key in ("nodeName", "hostname", "affinity"):
        spec.pop(key, None)
    text = orjson.dumps({"annotations": marks, "labels": labels, "spec": spec}, option=orjson.OPT_SORT_KEYS).decode()
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"].startswith("kube-api-access-"):
            text = text.replace(volume["name"], "kube-api-access")
    namespace = pod["metadata"]["namespace"]
    return orjson.loads(text.replace(namespace, "NAMESPACE"))


def _manifest(kind: str, namespace: str, way: Way) -> JSON:
    labels = ENABLED if way.label else {}
    if kind == "Pod":
        return pod(namespace, "weather", labels=labels)
    if kind == "ReplicaSet":
        return {**workload("Deployment", namespace, "weather", labels=labels), "kind": "ReplicaSet"}
    made = workload(kind, namespace, "weather", labels=labels)
    if kind == "CronJob":
        made["spec"]["suspend"] = True  # its Job is made by hand: at the full minute another mode may be installed
    return made


def _started(api: ApiClient, namespace: str, kind: str, way: Way) -> None:
    """Creates the layers, and the workload as soon as the webhook knows them."""
    name = {"apiVersion": "v1", "kind": "Namespace"}
    marks = {"name": namespace, "labels": {"kagenti.io/enrolled": "true"}}
    made = [api.create({**name, "metadata": marks}), api.create(config(namespace, **SETTINGS))]
    if way.runtime:
        made.append(api.create(runtime(namespace, "weather", kind=kind, target="weather")))
        made.append(api.create(runtime(namespace, "probe", kind="Pod", target="probe")))
    assert all(answer.ok for answer in made), [answer.message for answer in made]
    probe = pod(namespace, "probe", labels=ENABLED if way.label else {})

    def in_force() -> bool:
        found = api.create(probe, dry_run=True).body
        return "0.5" in str(found["spec"]["containers"][0].get("env")) if "spec" in found else False

    wait_until(in_force, 20, lambda: f"the namespace's settings are not in force ({way})")
    answer = api.create(_manifest(kind, namespace, way))
    assert answer.ok, answer.message
    if kind == "CronJob":
        _run_now(api, namespace, "weather")


Pods = dict[tuple[str, Way], JSON]


@pytest.fixture(scope="module")
def pods(install: Callable[..., Installed], api: ApiClient) -> Iterator[Pods]:
    """The first pod of every kind in every way, as the real controllers made it."""
    names, made = (f"parity-{number}" for number in itertools.count(1)), {}
    for way in WAYS:
        install(mode=way.mode)
        for kind in KINDS:
            made[kind, way] = next(names)
            _started(api, made[kind, way], kind, way)
        for kind in KINDS:
            _first_pod(api, made[kind, way], "weather")  # before the mode changes
    yield {key: _first_pod(api, namespace, "weather") for key, namespace in made.items()}
    for namespace in made.values():
        api.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_every_way_injects_the_same_pod(kind: str, way: Way, pods: Pods) -> None:
    """Byte for byte but for the receipt's trigger, over all workload kinds and modes."""
    found, first = pods[kind, way], pods[kind, WAYS[0]]
    assert injected(found)
    assert receipt(found)["trigger"] == way.trigger
    assert _comparable(found) == _comparable(first)


def test_the_comparison_would_see_a_difference(pods: Pods) -> None:
    """What is stripped before comparing leaves our containers, files and settings in it."""
    found = orjson.loads(orjson.dumps(pods["Pod", WAYS[0]]))
    whole = _comparable(found)
    assert {"config.kagenti.io/envoy.yaml", "kagenti.io/injected", "kagenti.io/config-hash"} <= set(
        whole["annotations"]
    )
    found["spec"]["initContainers"][2]["image"] = "other"
    assert _comparable(found) != whole

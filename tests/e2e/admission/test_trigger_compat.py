"""The parity law of spec 03: one pod, one set of layers, either trigger: the same pod but for the receipt's trigger."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import config, runtime, workload
from tests.e2e.admission.observed import injected, receipt
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")


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


def _injected_pod(api: ApiClient, namespace: str, kind: str, *, by: str) -> JSON:
    labels = {"kagenti.io/inject": "enabled"} if by == "label" else {}
    # The layers are the same for both: the AgentRuntime's settings stand in the namespace layer where the label triggers.
    settings = {"identity": {"inbound": {"validation": {"audience": "weather"}}}, "trace": {"sampling": {"rate": 0.5}}}
    made = [api.create(config(namespace, **settings))]
    if by == "runtime":
        made.append(api.create(runtime(namespace, "weather", kind=kind, target="weather")))
    made.append(api.create(workload(kind, namespace, "weather", labels=labels)))
    assert all(answer.ok for answer in made), [answer.message for answer in made]
    if kind == "CronJob":
        _run_now(api, namespace, "weather")
    return _first_pod(api, namespace, "weather")


@pytest.mark.parametrize("kind", KINDS)
def test_label_and_runtime_give_the_same_pod(
    kind: str, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """In mode both, pods that real controllers made are equal but for the receipt's trigger."""
    install(mode="both")
    by_label = _injected_pod(api, team(), kind, by="label")
    by_runtime = _injected_pod(api, team(), kind, by="runtime")
    assert injected(by_label)
    assert injected(by_runtime)
    assert receipt(by_label)["trigger"] == "Label"
    assert receipt(by_runtime)["trigger"] == "AgentRuntime"
    assert _comparable(by_label) == _comparable(by_runtime)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("mode", "by"), [("label", "label"), ("cr", "runtime")])
def test_every_kind_is_injected_in_the_single_trigger_modes(
    mode: str, by: str, kind: str, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """Modes label and cr inject the pods of every workload kind by their own trigger."""
    install(mode=mode)
    assert injected(_injected_pod(api, team(), kind, by=by))

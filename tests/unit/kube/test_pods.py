"""Managed pods as they are kept: decoded from what an API server sends."""

import orjson
import pytest

from kagenti.core.workload import OwnerReference
from kagenti.kube import PODS, StoredPod


def _pod(**overrides: object) -> bytes:
    metadata = {
        "name": "weather-1",
        "namespace": "team1",
        "uid": "u-1",
        "resourceVersion": "7",
        "labels": {"app": "weather", "kagenti.io/managed": "true"},
        "annotations": {"kagenti.io/injected": '{"layout":1}', "other": "x"},
        "ownerReferences": [
            {"apiVersion": "v1", "kind": "Note", "name": "n", "uid": "n-1"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "weather-5d8f", "uid": "rs-1", "controller": True},
        ],
    }
    status = {"phase": "Running", "podIPs": [{"ip": "10.0.0.7"}, {"ip": "fd00::7"}]}
    pod = {"metadata": metadata, "spec": {"serviceAccountName": "weather", "containers": [{}]}, "status": status}
    return orjson.dumps(pod | overrides)


def test_keeps_what_is_asked_for() -> None:
    """Identity, controller, receipt, phase and addresses."""
    assert PODS.decode(_pod()) == StoredPod(
        namespace="team1",
        name="weather-1",
        uid="u-1",
        resource_version="7",
        service_account="weather",
        owner=OwnerReference("apps/v1", "ReplicaSet", "weather-5d8f", "rs-1"),
        receipt='{"layout":1}',
        managed=True,
        phase="Running",
        ips=("10.0.0.7", "fd00::7"),
    )


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"name": "p"}, "nothing optional is there"),
        ({"name": "p", "labels": None, "annotations": None, "ownerReferences": None}, "null stands for absent"),
        ({"name": "p", "labels": {"kagenti.io/managed": "yes"}}, "any value but true is not the label"),
    ],
)
def test_a_bare_pod_is_not_managed(metadata: dict[str, object], reason: str) -> None:
    """What a single read may answer with."""
    pod = PODS.decode(orjson.dumps({"metadata": metadata}))
    assert (pod.managed, pod.receipt, pod.owner, pod.service_account) == (False, "", None, "default"), reason


def test_equal_receipts_are_kept_once() -> None:
    """A receipt has kilobytes, and all pods of a workload share it."""
    assert PODS.decode(_pod()).receipt is PODS.decode(_pod()).receipt


@pytest.mark.parametrize(("phase", "finished"), [("Running", False), ("Succeeded", True), ("Failed", True)])
def test_finished_pods_are_known(phase: str, finished: bool) -> None:
    """Their tokens may live for another hour."""
    assert PODS.decode(_pod(status={"phase": phase})).finished is finished

"""Pods as the operator keeps them: what decisions read comes back whole, what nobody reads is gone."""

from typing import Any

import orjson

from kagenti.operator.pods import OBSERVED_PODS, ObservedPod
from tests.unit.core.reconcile.given import World

JSON = Any  # a raw pod


def raw(**status: JSON) -> JSON:
    """An injected pod as the API server returns it."""
    pod = World().injected()
    pod["metadata"] |= {
        "name": "weather-1",
        "namespace": "team1",
        "uid": "u",
        "resourceVersion": "7",
        "creationTimestamp": "2026-11-26T12:00:00Z",
        "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
    }
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-26T12:00:09Z"}
    pod["status"] = {"phase": "Running", "podIP": "10.0.0.1", "conditions": [ready], **status}
    return pod


def kept(pod: JSON) -> ObservedPod:
    """What is kept of it."""
    return OBSERVED_PODS.decode(orjson.dumps(pod))


def test_what_decisions_read_comes_back_whole() -> None:
    """Spec, labels, annotations and owners, byte for byte."""
    pod = raw()
    found = kept(pod).manifest()
    assert found["spec"] == pod["spec"]
    for key in ("labels", "annotations"):
        assert found["metadata"][key] == pod["metadata"][key]
    assert "managedFields" not in found["metadata"]


def test_it_costs_a_fraction_of_the_pod() -> None:
    """Ten thousand of them have to fit."""
    pod = raw()
    assert len(kept(pod).packed) < len(orjson.dumps(pod)) / 3


def test_our_sidecars_are_told_with_their_readiness() -> None:
    """One without a status has not been observed to be ready; an ordinary init container is none of them."""
    statuses = [{"name": "envoy-proxy", "ready": True}, {"name": "proxy-init", "ready": True}]
    found = kept(raw(initContainerStatuses=statuses))
    assert found.sidecars == {"spiffe-helper": False, "kagenti-client-registration": False, "envoy-proxy": True}


def test_a_version_that_says_the_same_is_no_news() -> None:
    """Heartbeats of a kubelet concern nobody."""
    pod = raw()
    later = raw()
    later["metadata"]["resourceVersion"] = "8"
    later["status"]["containerStatuses"] = [{"name": "agent", "restartCount": 3}]
    assert kept(pod).same(kept(later))
    assert not kept(pod).same(kept(raw(phase="Succeeded")))


def test_life_is_told_by_phase_and_deletion() -> None:
    """Ended and ending pods are not counted."""
    ending = raw()
    ending["metadata"]["deletionTimestamp"] = "2026-11-26T12:00:00Z"
    assert [kept(pod).live for pod in (raw(), raw(phase="Failed"), ending)] == [True, False, False]


def test_a_bare_pod_is_one() -> None:
    """No receipt, no label."""
    pod = {"metadata": {"name": "x", "namespace": "n", "uid": "u"}, "spec": {"containers": [{"name": "a"}]}}
    found = kept(pod)
    assert (found.labelled, found.receipted, found.sidecars, found.owner) == (False, False, {}, None)

"""Other injectors' manifests, admitted by label and by AgentRuntime: the invariants of spec 04 hold on every one of them.

Outcomes are counted, so that no manifest passes by not being looked at. Recorded ones lie in the repository; the whole
corpora are used where they lie beside the checkout.
"""

import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from kagenti.core import inject
from kagenti.core.admission.respond import Answer
from kagenti.core.workload import Subject
from tests.json_patch import applied
from tests.unit.core.admission.cluster import DEPLOYMENT, ENROLLED, Cluster
from tests.unit.core.inject.admitting import LABEL, RUNTIME, admitted, labelled
from tests.unit.core.inject.corpus import CORPORA, DATA, Found, read

JSON = Any  # a raw pod

OURS = ["spiffe-helper", "kagenti-client-registration", "envoy-proxy", "proxy-init"]
RESTRICTED = Cluster(labels={"team1": {**ENROLLED, "pod-security.kubernetes.io/enforce": "restricted"}})
MOST = {"files": 64 * 1024, "receipt": 32 * 1024, "annotations": 256 * 1024}  # Kubernetes: 256 KiB together

beside = pytest.mark.skipif(not CORPORA.exists(), reason="the corpora of other injectors are not beside this checkout")
everywhere = pytest.mark.parametrize("folder", [DATA, pytest.param(CORPORA, marks=beside)], ids=["recorded", "whole"])

read_once = functools.cache(read)  # by the tests, not by every process that collects them


def holds_for_each(found: Iterable[Found], law: Callable[[Found], None]) -> None:
    """Looks at every one, and fails with the names of those for which a law does not hold."""
    broken, seen = {}, 0
    for one in found:
        seen += 1
        try:
            law(one)
        except AssertionError as failure:
            broken[one.name] = str(failure)
    assert broken == {}
    assert seen, "nothing was looked at"


def pods(folder: Path) -> list[Found]:
    """Returns the pods of a folder's manifests."""
    return [found for found in read_once(folder) if found.pod]


def injected(folder: Path) -> list[Found]:
    """Returns those that the label injects."""
    return [found for found in pods(folder) if by_label(found)[0].patch]


@functools.cache
def by_label(found: Found) -> tuple[Answer, JSON]:
    """Returns what becomes of a pod that the label triggers; every test reads the same, and changes a copy."""
    return admitted(labelled(found.pod), LABEL)


@functools.cache
def by_runtime(found: Found) -> tuple[Answer, JSON]:
    """Returns what becomes of a pod that an AgentRuntime triggers."""
    return admitted(found.pod, RUNTIME)


def outcomes(found: list[Found], admit: Callable[[Found], tuple[Answer, JSON]]) -> Counter[str]:
    """Counts what becomes of every document."""
    return Counter(one.fault or admit(one)[0].reason for one in found)


def test_the_recorded_ones_end_as_expected() -> None:
    """By label a foreign interceptor is denied; by AgentRuntime too."""
    rest = {"ForeignInterceptor": 5, "UnsupportedPod": 1, "no pod template": 1}
    assert outcomes(read_once(DATA), by_label) == {**rest, "Label": 2}
    assert outcomes(read_once(DATA), by_runtime) == {**rest, "AgentRuntime": 2}


@beside
def test_the_whole_corpora_end_as_expected() -> None:
    """Every document of every file is accounted for."""
    rest = {"ForeignInterceptor": 16, "UnsupportedPod": 3, "empty": 23, "no pod template": 13, "not YAML": 1}
    assert outcomes(read_once(CORPORA), by_label) == {**rest, "Label": 125}
    assert outcomes(read_once(CORPORA), by_runtime) == {**rest, "AgentRuntime": 125}


@everywhere
def test_what_is_not_injected_is_not_changed(folder: Path) -> None:
    """A denial or an admission without injection has no patch; both triggers end alike but for an unsupported pod."""

    def law(found: Found) -> None:
        (one, _), (other, _) = by_label(found), by_runtime(found)
        injected = one.reason == "Label"
        assert bool(one.patch) == bool(other.patch) == injected == (other.reason == "AgentRuntime")
        if not injected:
            assert one.message
            assert other.message or other.warnings

    holds_for_each(pods(folder), law)


@everywhere
def test_a_namespace_under_restricted_gets_nothing(folder: Path) -> None:
    """What we add would not pass there: refused with the failing control (or for another reason), never injected."""

    def law(found: Found) -> None:
        answer, _ = admitted(labelled(found.pod), RESTRICTED)
        assert (answer.allowed, tuple(answer.patch)) == (False, ())
        assert answer.reason in ("PodSecurity", "ForeignInterceptor", "UnsupportedPod")

    holds_for_each(pods(folder), law)


@everywhere
def test_both_triggers_give_the_same_pod(folder: Path) -> None:
    """Byte for byte but for the receipt's trigger, where both triggers exist."""

    def law(found: Found) -> None:
        one = copy.deepcopy(by_label(found)[1])
        del one["metadata"]["labels"]["kagenti.io/inject"]
        assert _without_trigger(one, "Label") == _without_trigger(by_runtime(found)[1], "AgentRuntime")

    holds_for_each(injected(folder), law)


def _without_trigger(pod: JSON, trigger: str) -> bytes:
    text = orjson.dumps(pod, option=orjson.OPT_SORT_KEYS)
    mark = f'\\"trigger\\":\\"{trigger}\\"'.encode()
    assert text.count(mark) == 1
    return text.replace(mark, b"")


@everywhere
def test_the_invariants_hold(folder: Path) -> None:
    """Fixed point, inverse, order, purity, no duplicates, untouched containers, bounds."""

    def law(found: Found) -> None:
        given = labelled(found.pod)
        answer, after = by_label(found)
        assert admitted(after, LABEL, later=5)[0].patch == ()
        assert applied(after, inject.uninject(Subject(DEPLOYMENT, after))) == given
        assert orjson.dumps(admitted(given, LABEL)[0].patch) == orjson.dumps(answer.patch)
        own = [item["name"] for item in given["spec"].get("initContainers") or ()]
        assert [item["name"] for item in after["spec"]["initContainers"]] == [*OURS, *own]
        assert [item.get("restartPolicy") for item in after["spec"]["initContainers"][:4]] == [*["Always"] * 3, None]
        assert after["spec"].get("restartPolicy") == given["spec"].get("restartPolicy")
        assert after["spec"].get("serviceAccountName") == given["spec"].get("serviceAccountName")
        _untouched(given, after)
        assert _duplicates(after) == _duplicates(given)
        _bounded(after["metadata"]["annotations"])

    holds_for_each(injected(folder), law)


def _untouched(before: JSON, after: JSON) -> None:
    """Everything but the lists of the touch list is byte-equal, unknown fields included."""
    for one, other in zip(before["spec"]["containers"], after["spec"]["containers"], strict=True):
        env = one.get("env") or []
        assert other["env"][: len(env)] == env
        assert orjson.dumps({**one, "env": 0}, option=orjson.OPT_SORT_KEYS) == orjson.dumps(
            {**other, "env": 0}, option=orjson.OPT_SORT_KEYS
        )
    touched = ("initContainers", "containers", "volumes", "imagePullSecrets")
    for part, names in (("spec", touched), ("metadata", ("labels", "annotations"))):
        rest = [{key: value for key, value in pod[part].items() if key not in names} for pod in (before, after)]
        assert orjson.dumps(rest[0]) == orjson.dumps(rest[1])


def _duplicates(pod: JSON) -> Mapping[str, int]:
    """Returns what is there more than once: container and volume names, and in a container ports, mounts, variables."""
    found: Counter[str] = Counter()
    containers = [item for key in ("initContainers", "containers") for item in pod["spec"].get(key) or ()]
    found.update(f"container {item['name']}" for item in containers)
    found.update(f"volume {item['name']}" for item in pod["spec"].get("volumes") or ())
    for item in containers:
        found.update(f"port name {port['name']}" for port in item.get("ports") or () if port.get("name"))
        found.update(f"{item['name']} mount {mount['mountPath']}" for mount in item.get("volumeMounts") or ())
        found.update(f"{item['name']} env {entry['name']}" for entry in item.get("env") or ())
    return {name: count for name, count in found.items() if count > 1}


def _bounded(annotations: Mapping[str, str]) -> None:
    files = sum(len(text.encode()) for key, text in annotations.items() if key.startswith("config.kagenti.io/"))
    assert files <= MOST["files"]
    assert len(annotations["kagenti.io/injected"].encode()) <= MOST["receipt"]
    assert sum(len(key.encode()) + len(text.encode()) for key, text in annotations.items()) <= MOST["annotations"]


def test_the_patch_grows_with_what_we_add() -> None:
    """Not with what is there: 2,000 variables of the app's own make it no longer."""
    sizes = []
    for number in (1, 2000):
        env = [{"name": f"V{index}", "value": "1"} for index in range(number)]
        spec = {"containers": [{"name": "a", "image": "a", "env": env}]}
        answer, _ = admitted(
            labelled({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec}), LABEL
        )
        assert answer.reason == "Label"
        sizes.append(len(orjson.dumps(answer.patch)))
    assert sizes[0] == sizes[1]

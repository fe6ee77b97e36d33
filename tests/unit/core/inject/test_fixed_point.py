"""inject is a fixed point, uninject its inverse, and nothing outside the touch list changes: properties."""

import copy
from pathlib import Path
from typing import Any

import jsonpatch
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from kagenti.core import inject, sidecars
from kagenti.core import settings as layering
from kagenti.core.installation import Installation
from kagenti.core.workload import Subject, WorkloadRef, subject_of

JSON = Any  # a raw pod

OURS = ("spiffe-helper", "kagenti-client-registration", "envoy-proxy", "proxy-init")
RESOLVED = layering.resolve(None, None, None)
STAMP = inject.Stamp(trigger="Label", now="2026-11-24T12:00:00Z", version="0.1.0", layout=1)
OWNER = WorkloadRef("apps", "Deployment", "team1", "weather")
CORPORA = Path(__file__).resolve().parents[5] / "shared" / "corpora"


def injected(pod: JSON, *, resolved: layering.ResolvedSettings = RESOLVED, stamp: inject.Stamp = STAMP) -> JSON:
    """Returns the pod after injection; asserts that it is not refused and that the input is not modified."""
    subject = Subject(OWNER, pod)
    before = orjson.dumps(pod)
    values = layering.values_for(resolved, owner=OWNER, service_account=subject.service_account)
    made = sidecars.build(resolved, subject=subject, values=values, installation=Installation())
    result = inject.inject(subject, made, settings=resolved, stamp=stamp)
    assert isinstance(result, inject.Injection)
    assert orjson.dumps(pod) == before
    return jsonpatch.apply_patch(pod, list(result.operations))


def operations(pod: JSON) -> tuple[JSON, ...]:
    """Returns the operations that injecting this pod takes."""
    subject = Subject(OWNER, pod)
    values = layering.values_for(RESOLVED, owner=OWNER, service_account=subject.service_account)
    made = sidecars.build(RESOLVED, subject=subject, values=values, installation=Installation())
    result = inject.inject(
        subject, made, settings=RESOLVED, stamp=inject.Stamp("Label", "2030-01-01T00:00:00Z", "0.1.0", 1)
    )
    assert isinstance(result, inject.Injection)
    return result.operations


def uninjected(pod: JSON) -> JSON:
    """Returns the pod after the inverse."""
    return jsonpatch.apply_patch(pod, list(inject.uninject(Subject(OWNER, pod))))


names = st.text("abcdefgh", min_size=1, max_size=6)
entries = st.fixed_dictionaries(
    {"name": st.sampled_from(["A", "B", "OTEL_SERVICE_NAME", "OTEL_TRACES_SAMPLER"])}, optional={"value": names}
)
containers = st.fixed_dictionaries(
    {"name": names, "image": names},
    optional={
        "env": st.lists(entries, max_size=3, unique_by=lambda entry: entry["name"]),
        "ports": st.lists(st.fixed_dictionaries({"containerPort": st.integers(1, 9000)}), max_size=2),
        "futureField": st.dictionaries(names, st.integers(-5, 5), max_size=2),
        "volumeMounts": st.just([{"name": "data", "mountPath": "/data"}]),
    },
)
metadata = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.dictionaries(names, names, max_size=2),
        "annotations": st.dictionaries(names, names, max_size=2),
        "futureMeta": st.integers(-5, 5),
    },
)
specs = st.fixed_dictionaries(
    {"containers": st.lists(containers, min_size=1, max_size=3, unique_by=lambda found: found["name"])},
    optional={
        "initContainers": st.lists(containers, max_size=2, unique_by=lambda found: found["name"]),
        "volumes": st.just([{"name": "data", "emptyDir": {}}]),
        "imagePullSecrets": st.just([{"name": "pull"}]),
        "futureSpec": st.dictionaries(names, names, max_size=2),
    },
)
pods = st.fixed_dictionaries({"spec": specs}, optional={"metadata": metadata})
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(pods)
def test_a_second_injection_is_empty(pod: JSON) -> None:
    """inject(inject(p)) takes no operation."""
    assert operations(injected(pod)) == ()


@QUICK
@given(pods)
def test_uninject_is_the_inverse(pod: JSON) -> None:
    """uninject(inject(p)) = p, unknown fields and empty lists included."""
    assert uninjected(injected(pod)) == pod


@QUICK
@given(pods)
def test_ours_come_first_in_our_order(pod: JSON) -> None:
    """The order contract holds, and the user's init containers keep theirs."""
    after = [found["name"] for found in injected(pod)["spec"]["initContainers"]]
    before = [found["name"] for found in pod["spec"].get("initContainers") or ()]
    assert after == [*OURS, *before]


@QUICK
@given(pods)
def test_app_containers_only_gain_environment(pod: JSON) -> None:
    """What a container sets stays; new names stand behind its own."""
    for before, after in zip(pod["spec"]["containers"], injected(pod)["spec"]["containers"], strict=True):
        assert {key: value for key, value in after.items() if key != "env"} == {
            key: value for key, value in before.items() if key != "env"
        }
        own = before.get("env") or []
        assert after["env"][: len(own)] == own
        found = [entry["name"] for entry in after["env"]]
        assert len(set(found)) == len(found)


def _reorder(pod: JSON) -> None:
    pod["spec"]["initContainers"].reverse()


def _strip_restart_policy(pod: JSON) -> None:
    for found in pod["spec"]["initContainers"]:
        found.pop("restartPolicy", None)


def _change_image(pod: JSON) -> None:
    pod["spec"]["initContainers"][2]["image"] = "evil/envoy:1"


def _drop_one(pod: JSON) -> None:
    del pod["spec"]["initContainers"][0]


def _prepend(pod: JSON) -> None:
    pod["spec"]["initContainers"].insert(0, {"name": "vault-agent-init", "image": "vault"})


def _drop_volume(pod: JSON) -> None:
    del pod["spec"]["volumes"][-1]


def _change_environment(pod: JSON) -> None:
    next(entry for entry in pod["spec"]["containers"][0]["env"] if entry["name"] == "OTEL_SERVICE_NAME")["value"] = (
        "other"
    )


def _add_container(pod: JSON) -> None:
    pod["spec"]["containers"].append({"name": "late", "image": "late"})


def _forge_receipt(pod: JSON) -> None:
    pod["metadata"]["annotations"]["kagenti.io/injected"] = '{"environment": 5, "created": {"a": 1}}'


def _garble_receipt(pod: JSON) -> None:
    pod["metadata"]["annotations"]["kagenti.io/injected"] = "not json"


@pytest.mark.parametrize(
    ("mutate", "reason"),
    [
        (_reorder, "another webhook reorders init containers"),
        (_strip_restart_policy, "a webhook built against an old API drops restartPolicy"),
        (_change_image, "our image is exchanged"),
        (_drop_one, "one of ours is dropped"),
        (_prepend, "another webhook puts its init container first"),
        (_drop_volume, "one of our volumes is dropped"),
        (_change_environment, "our environment is changed"),
        (_add_container, "a container is added after us"),
        (_forge_receipt, "the receipt has wrong types"),
        (_garble_receipt, "the receipt is not JSON"),
    ],
)
def test_a_foreign_mutation_converges(mutate: Any, reason: str) -> None:
    """After somebody else's change, one more injection restores what we set, and the next one is empty."""
    pod = {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    changed = copy.deepcopy(injected(pod))
    mutate(changed)
    assert operations(changed) != (), reason
    mended = injected(changed)
    assert [found["name"] for found in mended["spec"]["initContainers"]][:4] == list(OURS), reason
    assert all("evil" not in found["image"] for found in mended["spec"]["initContainers"]), reason
    assert operations(mended) == (), reason


def test_the_api_servers_own_additions_are_not_drift() -> None:
    """The service-account mount and another spelling of a quantity leave the patch empty."""
    pod = injected({"spec": {"containers": [{"name": "a", "image": "a"}]}})
    mount = {
        "name": "kube-api-access-x7",
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        "readOnly": True,
    }
    for found in pod["spec"]["initContainers"]:
        found.setdefault("volumeMounts", []).append(mount)
        found["resources"]["limits"]["cpu"] = {"100m": "0.1", "200m": "0.2", "1": "1000m"}[
            found["resources"]["limits"]["cpu"]
        ]
    assert operations(pod) == ()


def _corpus() -> list[Any]:
    found = []
    for path in sorted(CORPORA.rglob("*.y*ml")) if CORPORA.exists() else []:
        try:
            documents = list(YAML(typ="safe", pure=True).load_all(path.read_text()))
        except Exception:  # noqa: S112  # some inputs of the corpus are broken on purpose
            continue
        for number, document in enumerate(documents):
            subject = subject_of(document, namespace="default") if isinstance(document, dict) else None
            if subject is not None:
                found.append(pytest.param(document, id=f"{path.parent.name}/{path.stem}-{number}"))
    return found


@pytest.mark.skipif(not CORPORA.exists(), reason="the corpora of other injectors are not beside this checkout")
@pytest.mark.parametrize("document", _corpus())
def test_the_corpus_keeps_every_invariant(document: JSON) -> None:
    """Real manifests: either trigger, equal but for the receipt's trigger; fixed point; inverse; no duplicates."""
    subject = subject_of(document, namespace="default")
    assert subject is not None
    results = {}
    for trigger in ("Label", "AgentRuntime"):
        template = orjson.loads(orjson.dumps(subject.template))
        refusal = inject.preflight(Subject(OWNER, template), RESOLVED, mandatory=False, namespace_labels={})
        if isinstance(refusal, inject.Refusal):
            assert refusal.message
            return
        after = injected(template, stamp=inject.Stamp(trigger, STAMP.now, STAMP.version, 1))
        assert uninjected(after) == template
        again = injected(after, stamp=inject.Stamp(trigger, "2030-01-01T00:00:00Z", STAMP.version, 1))
        assert again == after
        for key in ("initContainers", "containers", "volumes"):
            found = [item["name"] for item in after["spec"].get(key) or ()]
            assert len(found) == len(set(found))
        results[trigger] = orjson.dumps(after).replace(f'\\"trigger\\":\\"{trigger}\\"'.encode(), b"TRIGGER")
    assert results["Label"] == results["AgentRuntime"]

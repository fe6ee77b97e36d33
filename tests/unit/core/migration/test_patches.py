"""Patches of workloads: what they leave is what the user wrote, with labels where pods have them."""

import copy
from typing import Any

import pytest
from jsonpatch import JsonPatch

from kagenti.core.migration import patches
from kagenti.core.migration.eras import ERAS
from kagenti.core.migration.patches import WorkloadPatch
from kagenti.core.migration.workloads import OldWorkload, labelled, overrides, runtimes, workload_of
from tests import legacy
from tests.unit.core.migration.given import PLACE, era_objects, read, workload

JSON = Any  # a workload

TYPE, INJECT = "kagenti.io/type", "kagenti.io/inject"


def of(manifest: JSON) -> OldWorkload:
    """A raw workload as the migration has it."""
    found = workload_of(manifest)
    assert found is not None
    return found


def applied(patch: WorkloadPatch | None, manifest: JSON) -> JSON:
    """Returns the workload after a patch."""
    assert patch is not None
    return JsonPatch(patch.operations).apply(copy.deepcopy(manifest))


def test_stored_sidecars_come_out_and_nothing_else() -> None:
    """Sidecars, their volumes, the group: what is left is the workload before the old webhook met it."""
    plain = legacy.agent("forecast", PLACE, labels={TYPE: "agent"})
    stored = legacy.stored_sidecars(copy.deepcopy(plain))
    assert applied(patches.labels(of(stored), ERAS["E1c"]), stored) == plain


def test_what_is_the_users_own_stays() -> None:
    """A container of such a name with another image, a volume in use, another group, init containers beside."""
    manifest = legacy.agent("forecast", PLACE, labels={TYPE: "agent"})
    spec = manifest["spec"]["template"]["spec"]
    mine = {
        "name": "envoy-proxy",
        "image": "registry.example/my-envoy:1",
        "volumeMounts": [{"name": "shared-data", "mountPath": "/x"}],
    }
    spec["containers"].append(mine)
    spec["initContainers"] = [{"name": "prepare", "image": "busybox"}]
    stored = legacy.stored_sidecars(copy.deepcopy(manifest))
    stored["spec"]["template"]["spec"]["securityContext"] = {"fsGroup": 0, "runAsUser": 1000}
    left = applied(patches.labels(of(stored), ERAS["E1c"]), stored)["spec"]["template"]["spec"]
    assert [item["name"] for item in left["containers"]] == ["agent", "envoy-proxy"]
    assert [item["name"] for item in left["initContainers"]] == ["prepare"]
    assert [item["name"] for item in left["volumes"]] == ["shared-data"]
    assert left["securityContext"] == {"runAsUser": 1000}


def test_a_clean_workload_is_left_alone() -> None:
    """No patch where nothing is to be done; what kagenti injected is not taken for old sidecars."""
    manifest = legacy.agent("forecast", PLACE, labels={TYPE: "agent"})
    assert patches.labels(of(manifest), ERAS["E2b"]) is None
    ours = legacy.stored_sidecars(copy.deepcopy(manifest))
    ours["spec"]["template"]["metadata"]["annotations"] = {"kagenti.io/injected": "{}"}
    assert patches.labels(of(ours), ERAS["E1c"]) is None


def test_labels_of_the_workload_go_to_its_template() -> None:
    """Those that mean something for pods, and only where the template has none."""
    manifest = legacy.agent("forecast", PLACE, labels={TYPE: "tool"})
    manifest["metadata"]["labels"] |= {INJECT: "enabled", TYPE: "agent", "kagenti.io/framework": "x", "other": "y"}
    labels = applied(patches.labels(of(manifest), ERAS["E1c"]), manifest)["spec"]["template"]["metadata"]["labels"]
    assert labels == {"app": "forecast", TYPE: "tool", INJECT: "enabled"}


def test_a_renamed_prefix_comes_under_ours() -> None:
    """Labels and annotations of the last era."""
    manifest = legacy.agent("forecast", PLACE, labels={"rossoctl.io/type": "agent"})
    manifest["spec"]["template"]["metadata"]["annotations"] = {"rossoctl.io/outbound-ports-exclude": "11434"}
    metadata = applied(patches.labels(of(manifest), ERAS["E5"]), manifest)["spec"]["template"]["metadata"]
    assert metadata["labels"][TYPE] == "agent"
    assert metadata["annotations"]["kagenti.io/outbound-ports-exclude"] == "11434"


@pytest.mark.parametrize(("era", "gone"), [("E2a", False), ("E2b", True), ("E3", True)])
def test_an_inverted_label_goes(era: str, gone: bool) -> None:
    """It opted out until 2026-03-30, did nothing then, and would opt out now."""
    key = "kagenti.io/client-registration-inject"
    manifest = legacy.agent("forecast", PLACE, labels={TYPE: "agent", key: "false"})
    patch = patches.labels(of(manifest), ERAS[era])
    assert (patch is not None) is gone
    if gone:
        assert key not in applied(patch, manifest)["spec"]["template"]["metadata"]["labels"]


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_there_and_back(kind: str) -> None:
    """The trigger label goes on, and comes off again, wherever the template stands."""
    manifest = legacy.agent("forecast", PLACE, labels={TYPE: "agent"})
    if kind == "CronJob":
        template = manifest["spec"]["template"]
        manifest |= {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": template}}},
        }
    there = applied(patches.trigger(of(manifest)), manifest)
    assert of(there).subject.labels[INJECT] == "enabled"
    assert applied(patches.untrigger(of(there)), there) == manifest
    assert patches.untrigger(of(manifest)) is None


def test_a_template_without_metadata() -> None:
    """Gets it."""
    manifest = legacy.agent("forecast", PLACE, labels={})
    del manifest["spec"]["template"]["metadata"]
    there = applied(patches.trigger(of(manifest), kind="tool"), manifest)
    assert there["spec"]["template"]["metadata"]["labels"] == {INJECT: "enabled", TYPE: "tool"}


def test_a_patch_tests_the_generation_that_it_was_made_from() -> None:
    """So that it never meets another template; the status of a roll-out in progress is no hindrance."""
    manifest = legacy.agent("forecast", PLACE, labels={TYPE: "agent"})
    manifest["metadata"] |= {"resourceVersion": "70", "generation": 7}
    patch = patches.trigger(of(manifest))
    assert patch is not None
    assert patch.guarded[0] == {"op": "test", "path": "/metadata/generation", "value": 7}
    assert patches.command(patch)[:5] == ("kubectl", "patch", "deployment.apps", "forecast", "-n")


@pytest.mark.parametrize(
    ("era", "labels", "expected"),
    [
        ("E2a", {TYPE: "agent"}, {}),
        (
            "E2a",
            {TYPE: "agent", "kagenti.io/spiffe-helper-inject": "false"},
            {"identity": {"spiffe": {"enabled": False}}},
        ),
        ("E1a", {TYPE: "agent"}, {}),
        ("E1a", {TYPE: "agent", "kagenti.io/spire": "enabled"}, {"identity": {"spiffe": {"enabled": True}}}),
        ("E2a", {"kagenti.io/spiffe-helper-inject": "false"}, {}),
    ],
)
def test_what_labels_meant_becomes_an_override(era: str, labels: dict[str, str], expected: JSON) -> None:
    """SPIRE by label is a setting of the workload here."""
    old, _ = read(era_objects(era), era)
    assert overrides(old, workload(labels).pod) == expected


def test_runtimes_of_two_workloads_of_one_name() -> None:
    """Each has a name of its own, the type of its label, and names its target fully."""
    old, _ = read(era_objects("E2b"), "E2b")
    found = [workload({TYPE: "agent"}), workload({TYPE: "tool"}, kind="StatefulSet")]
    made = runtimes(found, old, always=True)
    assert [one["metadata"]["name"] for one in made] == ["agent-deployment", "agent-statefulset"]
    assert [one["spec"]["type"] for one in made] == ["agent", "tool"]
    assert made[1]["spec"]["targetRef"] == {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "agent"}
    assert runtimes(found, old, always=False) == []


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({TYPE: "agent"}, True),
        ({INJECT: "enabled"}, True),
        ({TYPE: "agent", INJECT: "disabled"}, False),
        ({TYPE: "ui"}, False),
    ],
)
def test_which_workloads_are_labelled(labels: dict[str, str], expected: bool) -> None:
    """By a type or the trigger, and not opted out."""
    assert labelled(workload(labels), ERAS["E2b"]) is expected


def test_a_workload_that_another_controls_is_none() -> None:
    """Its controller's template is what counts."""
    manifest = legacy.agent("forecast", PLACE, labels={})
    manifest["metadata"]["ownerReferences"] = [
        {"apiVersion": "x/v1", "kind": "Y", "name": "z", "uid": "1", "controller": True}
    ]
    assert workload_of(manifest) is None

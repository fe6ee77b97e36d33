"""Target workloads: injected in the template, rendered anew only for the user's own change, stripped only by the label."""

import copy
from typing import Any

import pytest

from kagenti.core.admission import workloads
from kagenti.core.admission.respond import Answer
from kagenti.core.workload import WorkloadRef
from tests.json_patch import applied
from tests.unit.core.admission.cluster import (
    ENABLED,
    NOW,
    OURS,
    Cluster,
    context,
    layers,
    reference,
    request,
    stored,
    workload,
)

JSON = Any  # a raw workload

KINDS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob")
DISABLED = {"kagenti.io/inject": "disabled"}


def template(manifest: JSON) -> JSON:
    spec = manifest["spec"]["jobTemplate"]["spec"] if manifest["kind"] == "CronJob" else manifest["spec"]
    return spec["template"]


def names(manifest: JSON) -> list[str]:
    return [found["name"] for found in template(manifest)["spec"].get("initContainers") or ()]


def answer(new: JSON, cluster: Cluster, *, old: JSON = None, mode: str = "both") -> Answer:
    asked = request(new, old=old)
    facts = cluster.facts(workloads.needs(asked).owner)
    return workloads.mutate_workload(asked, facts, context=context(mode), layers=layers(), now=NOW)


def stored_as(new: JSON, cluster: Cluster, *, old: JSON = None, mode: str = "both") -> JSON:
    """The workload as the API server would store it."""
    given = answer(new, cluster, old=old, mode=mode)
    assert given.allowed, given.message
    return applied(new, given.patch)


def changed(manifest: JSON, **annotations: str) -> JSON:
    """The workload after its author changed the template."""
    made = copy.deepcopy(manifest)
    metadata = template(made)["metadata"]
    metadata["annotations"] = {**metadata.get("annotations", {}), **annotations}
    return made


def sampling(rate: float) -> Cluster:
    return Cluster(configs={"team1": stored("team1", trace={"sampling": {"rate": rate}})})


def targeted(kind: str = "Deployment") -> Cluster:
    group = "batch/v1" if kind in ("Job", "CronJob") else "apps/v1"
    return Cluster(agent_runtimes=[stored("team1", "weather", targetRef=reference(kind, group=group))])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", ["labels", "own"])
def test_a_label_in_either_place_injects_the_template(kind: str, place: str) -> None:
    """From the workload's own metadata or from its template."""
    assert names(stored_as(workload(kind, **{place: ENABLED}), Cluster())) == OURS


@pytest.mark.parametrize("kind", KINDS)
def test_an_agentruntime_injects_the_template(kind: str) -> None:
    """A clean workload that an AgentRuntime targets."""
    assert names(stored_as(workload(kind), targeted(kind))) == OURS


def test_a_job_of_a_cronjob_belongs_to_the_cronjob() -> None:
    """The top of the chain is the CronJob, as with target pods."""
    job = workload("Job")
    owner = {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "u", "controller": True}
    job["metadata"]["ownerReferences"] = [owner]
    assert workloads.needs(request(job)).owner == WorkloadRef("batch", "CronJob", "team1", "nightly")


def test_a_deployment_is_its_own_top_whoever_owns_it() -> None:
    """With target pods the chain ends at the Deployment too."""
    manifest = workload("Deployment")
    manifest["metadata"]["ownerReferences"] = [
        {"apiVersion": "example.com/v1", "kind": "Agent", "name": "a", "uid": "u", "controller": True}
    ]
    assert workloads.needs(request(manifest)).owner == WorkloadRef("apps", "Deployment", "team1", "weather")


@pytest.mark.parametrize(
    ("mode", "labels", "allowed", "reason"),
    [
        ("both", {}, True, "NoTrigger"),
        ("label", {}, True, "NoTrigger"),
        ("cr", ENABLED, True, "LabelIgnored"),
        ("both", DISABLED, True, "OptOut"),
        ("both", {"kagenti.io/inject": "yes"}, False, "InvalidLabel"),
    ],
)
def test_rows_without_injection(mode: str, labels: dict[str, str], allowed: bool, reason: str) -> None:
    """The same codes as for pods."""
    given = answer(workload("Deployment", labels=labels), Cluster(), mode=mode)
    assert (given.allowed, given.reason, given.patch) == (allowed, reason, ())


def test_an_unrelated_update_changes_nothing_even_if_layers_changed() -> None:
    """Otherwise a config change would roll every Deployment that any controller touches."""
    first = stored_as(workload("Deployment", labels=ENABLED), sampling(0.25))
    scaled = copy.deepcopy(first)
    scaled["spec"]["replicas"] = 3
    given = answer(scaled, sampling(0.75), old=first)
    assert (given.reason, given.patch) == ("Unchanged", ())
    at_once = workloads.at_once(request(scaled, old=first))
    assert at_once is not None
    assert at_once.reason == "Unchanged"


@pytest.mark.parametrize(
    "cluster",
    [
        Cluster(configs={"team1": stored("team1", trace=[])}),
        Cluster(labels={}),
        Cluster(configs={"team1": stored("team1", policy={"injection": "Mandatory"})}),
    ],
)
def test_an_update_that_leaves_the_users_part_alone_is_never_denied(cluster: Cluster) -> None:
    """Unreadable layers, an unseen namespace, a new policy: scaling goes on."""
    first = workload("Deployment", labels={"kagenti.io/inject": "disabled"})
    scaled = copy.deepcopy(first)
    scaled["spec"]["replicas"] = 3
    assert answer(scaled, cluster, old=first).reason == "Unchanged"


def test_the_users_own_change_renders_the_sidecars_anew() -> None:
    """A changed template gets the settings of now."""
    first = stored_as(workload("Deployment", labels=ENABLED), sampling(0.25))
    second = stored_as(changed(first, touched="yes"), sampling(0.75), old=first)
    environment = {entry["name"]: entry.get("value") for entry in template(second)["spec"]["containers"][0]["env"]}
    assert environment["OTEL_TRACES_SAMPLER_ARG"] == "0.75"
    assert names(second) == OURS


def test_a_writer_of_the_whole_object_does_not_lose_the_sidecars() -> None:
    """A clean manifest over an injected one, its own part the same: ours stand as they stood, no roll-out."""
    clean = workload("Deployment", labels=ENABLED)
    first = stored_as(clean, sampling(0.25))
    assert stored_as(clean, sampling(0.75), old=first) == first


def test_a_hand_on_our_part_is_undone() -> None:
    """A changed image of ours without a change of the user's own part goes back to what it was."""
    first = stored_as(workload("Deployment", labels=ENABLED), Cluster())
    meddled = copy.deepcopy(first)
    template(meddled)["spec"]["initContainers"][2]["image"] = "evil"
    assert stored_as(meddled, Cluster(), old=first) == first


@pytest.mark.parametrize("mode", ["label", "both"])
@pytest.mark.parametrize("place", ["labels", "own"])
@pytest.mark.parametrize("enrolled", [True, False])
def test_removing_the_label_strips(mode: str, place: str, enrolled: bool) -> None:
    """What comes out is what the author wrote, in any namespace."""
    cluster = Cluster() if enrolled else Cluster(labels={"team1": {}})
    first = stored_as(workload("Deployment", **{place: ENABLED}), cluster, mode=mode)
    without = copy.deepcopy(first)
    marks = template(without)["metadata"]["labels"] if place == "labels" else without["metadata"]["labels"]
    del marks["kagenti.io/inject"]
    assert stored_as(without, cluster, old=first, mode=mode) == workload("Deployment")


def test_disabling_strips() -> None:
    """The label says disabled."""
    first = stored_as(workload("Deployment", labels=ENABLED), Cluster())
    disabled = copy.deepcopy(first)
    template(disabled)["metadata"]["labels"]["kagenti.io/inject"] = "disabled"
    assert stored_as(disabled, Cluster(), old=first) == workload("Deployment", labels=DISABLED)


def test_removing_the_label_where_an_agentruntime_targets_keeps_the_sidecars() -> None:
    """The other trigger holds, where it is enrolled."""
    first = stored_as(workload("Deployment", labels=ENABLED), targeted())
    without = copy.deepcopy(first)
    del template(without)["metadata"]["labels"]["kagenti.io/inject"]
    assert names(stored_as(without, targeted(), old=first)) == OURS
    outside = targeted()
    outside.labels = {"team1": {}}
    assert names(stored_as(without, outside, old=first)) == []


@pytest.mark.parametrize("mode", ["cr", "both"])
def test_a_vanished_agentruntime_never_strips(mode: str) -> None:
    """Neither on scaling, nor when the author changes the template, nor for a clean manifest over an injected one."""
    first = stored_as(workload("Deployment"), targeted(), mode=mode)
    second = stored_as(changed(first, touched="yes"), Cluster(), old=first, mode=mode)
    assert names(second) == OURS
    clean = changed(workload("Deployment"), touched="again")
    given = answer(clean, Cluster(), old=second, mode=mode)
    assert (given.reason, given.audit["trigger"]) == ("Kept", "AgentRuntime")
    assert names(stored_as(clean, Cluster(), old=second, mode=mode)) == OURS


def test_a_switch_in_a_layer_leaves_what_is_there() -> None:
    """injection.enabled: false is no order to strip."""
    first = stored_as(workload("Deployment", labels=ENABLED), Cluster())
    off = Cluster(configs={"team1": stored("team1", injection={"enabled": False})})
    assert names(stored_as(changed(first, touched="yes"), off, old=first)) == OURS


def test_a_forged_receipt_on_an_untriggered_workload_is_dropped() -> None:
    """On creation nothing of ours stays without an injection."""
    manifest = changed(workload("Deployment"), **{"kagenti.io/injected": "{}"})
    made = stored_as(manifest, Cluster())
    assert "kagenti.io/injected" not in template(made)["metadata"].get("annotations", {})


@pytest.mark.parametrize(
    ("reason", "asked"),
    [
        ("Deleting", {"deletionTimestamp": "2026-11-24T12:00:00Z"}),
        ("NotOurs", {}),
    ],
)
def test_what_must_not_wait_for_us(reason: str, asked: dict[str, str]) -> None:
    """Objects on their way out, and updates of Jobs."""
    manifest = workload("Job", labels=ENABLED)
    new = copy.deepcopy(manifest)
    new["metadata"].update(asked)
    given = answer(new, Cluster(), old=manifest)
    assert (given.allowed, given.reason, given.patch) == (True, reason, ())


def test_a_template_of_wrong_types_is_refused_with_its_uid() -> None:
    """Code 400 that names the place."""
    manifest = workload("Deployment")
    manifest["spec"]["template"]["spec"] = []
    given = answer(manifest, Cluster())
    assert (given.allowed, given.code) == (False, 400)
    assert "object.spec.template.spec: expected `object`, got `array`" in given.message


@pytest.mark.parametrize("kind", KINDS)
def test_the_users_part_of_an_injected_workload_is_what_the_author_wrote(kind: str) -> None:
    """The inverse, as the comparison uses it."""
    manifest = workload(kind, labels=ENABLED)
    made = stored_as(manifest, Cluster())
    subject = workloads._subject(request(made), made, WorkloadRef("", kind, "team1", "weather"))
    assert subject is not None
    assert workloads.users_part(subject) == template(manifest)


def test_in_mode_cr_being_called_proves_the_enrolment() -> None:
    """Mode cr has one entry, for enrolled namespaces: labels that the cache has not seen yet change nothing."""
    cluster = targeted()
    cluster.labels = {"team1": {}}
    old = workload("Deployment", labels=ENABLED)
    given = answer(changed(old, note="new"), cluster, old=old, mode="cr")
    assert given.reason == "AgentRuntime"
    assert given.patch

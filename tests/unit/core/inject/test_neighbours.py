"""Recorded injectors before and after ours: what becomes of the pod does not depend on who comes first."""

import copy
import itertools
from typing import Any

import orjson
import pytest

from kagenti.core import inject
from kagenti.core.admission.respond import Answer
from kagenti.core.inject import neighbours
from kagenti.core.workload import Subject
from tests.json_patch import applied
from tests.neighbours import COMPANIONS, MESHES, RECORDED, additions
from tests.unit.core.admission.cluster import DEPLOYMENT, ENABLED, ENROLLED, OURS, Cluster, pod
from tests.unit.core.inject.admitting import LABEL, admitted

JSON = Any  # a raw pod

US = "us"
ORDERS = ("before us", "after us")
INITIAL = {"name": "migrate", "image": "example/migrate:1"}
AMBIENT = {"istio.io/dataplane-mode": "ambient"}


def plain() -> JSON:
    """A user's pod with an init container and a volume of its own."""
    mounts = [{"name": "data", "mountPath": "/data"}]
    containers = [{"name": "agent", "image": "example/agent:1", "volumeMounts": mounts}]
    return pod(
        labels=ENABLED, containers=containers, initContainers=[INITIAL], volumes=[{"name": "data", "emptyDir": {}}]
    )


def created(raw: JSON, webhooks: tuple[str, ...], *, again: bool = True) -> tuple[list[Answer], JSON]:
    """A pod's way through mutating webhooks as the API server leads it, with all our answers.

    In the order of their names, then once more whoever precedes a change by another (reinvocationPolicy IfNeeded; the
    neighbours' own is that only where ``again``).
    """
    answers: list[Answer] = []
    last: dict[str, JSON] = {}
    for number, name in enumerate((*webhooks, *webhooks)):
        if number >= len(webhooks) and (raw == last[name] or (name != US and not again)):
            continue
        if name == US:
            answer, raw = admitted(raw, LABEL)
            answers.append(answer)
            if not answer.allowed:
                break
        else:
            raw = applied(raw, additions(name, raw))
        last[name] = copy.deepcopy(raw)
    return answers, raw


def in_order(name: str, order: str) -> tuple[str, ...]:
    """The webhooks as they are called."""
    return (name, US) if order == "before us" else (US, name)


@pytest.mark.parametrize(("name", "order"), [*itertools.product(MESHES, ORDERS)])
def test_another_interceptor_is_denied_in_either_order(name: str, order: str) -> None:
    """By name, with the way out: two cannot redirect one pod's traffic."""
    answers, _ = created(plain(), in_order(name, order))
    assert not answers[-1].allowed
    assert answers[-1].reason == "ForeignInterceptor"
    assert {"istio": "Istio's", "linkerd": "Linkerd's"}[name.partition("-")[0]] in answers[-1].message
    assert "ambient" in answers[-1].message


@pytest.mark.parametrize(("name", "order", "again"), [*itertools.product(COMPANIONS, ORDERS, (True, False))])
def test_a_companion_keeps_what_it_adds_and_we_keep_ours(name: str, order: str, again: bool) -> None:
    """Ours first and as built, theirs all there, the receipt true, one more look empty; without us, as if we never were."""
    answers, after = created(plain(), in_order(name, order), again=again)
    assert [answer.reason for answer in answers] == ["Label"] * len(answers)
    alone = applied(plain(), additions(name, plain()))
    names = [container["name"] for container in after["spec"]["initContainers"]]
    assert names == [*OURS, *(container["name"] for container in alone["spec"]["initContainers"])]
    ours = admitted(plain(), LABEL)[1]["spec"]["initContainers"][:4]
    assert after["spec"]["initContainers"][:4] == ours, "what a neighbour put into our containers is taken out"
    assert admitted(after, LABEL)[0].patch == ()
    _receipt_is_true(after)
    assert applied(after, inject.uninject(Subject(DEPLOYMENT, after))) == alone


def _receipt_is_true(after: JSON) -> None:
    """What it says of containers, volumes and environment is on the pod, and nothing of that more."""
    receipt = orjson.loads(after["metadata"]["annotations"]["kagenti.io/injected"])
    assert receipt["containers"] == OURS
    named = {volume["name"] for volume in after["spec"]["volumes"]}
    assert {name for name in named if name.startswith("kagenti-")} == set(receipt["volumes"])
    for container in after["spec"]["containers"]:
        variables = {entry["name"] for entry in container["env"]}
        assert variables >= set(receipt["environment"][container["name"]])
    assert set(receipt["environment"]) == {container["name"] for container in after["spec"]["containers"]}


def test_two_companions_and_we_converge_in_every_order() -> None:
    """Three webhooks, six orders: one set of containers."""
    found = set()
    for order in itertools.permutations((US, "vault-agent", "istio-ambient")):
        _, after = created(plain(), order)
        assert admitted(after, LABEL)[0].patch == (), order
        found.add(tuple(container["name"] for container in after["spec"]["initContainers"]))
    assert found == {(*OURS, "migrate", "vault-agent-init")}


@pytest.mark.parametrize("number", range(4))
def test_no_field_of_ours_can_be_stripped(number: int) -> None:
    """A webhook built against an old API drops the fields that it does not know, whichever these are."""
    whole = admitted(plain(), LABEL)[1]
    for key in whole["spec"]["initContainers"][number]:
        stripped = copy.deepcopy(whole)
        del stripped["spec"]["initContainers"][number][key]
        if key == "name":
            continue  # no API has ever been without it
        assert admitted(stripped, LABEL)[1] == whole, key


def test_no_volume_of_ours_can_be_emptied() -> None:
    """A volume whose source an old API does not know comes back without one."""
    whole = admitted(plain(), LABEL)[1]
    for index, volume in enumerate(whole["spec"]["volumes"]):
        if volume["name"].startswith("kagenti-"):
            stripped = copy.deepcopy(whole)
            stripped["spec"]["volumes"][index] = {"name": volume["name"]}
            assert admitted(stripped, LABEL)[1] == whole, volume["name"]


def test_who_takes_our_receipt_away_is_named_in_the_denial() -> None:
    """Without it our own containers are anybody's: fail closed, and say what must be mended."""
    _, after = created(plain(), (US, "vault-agent"))
    del after["metadata"]["annotations"]["kagenti.io/injected"]
    answer, _ = admitted(after, LABEL)
    assert (answer.allowed, answer.reason) == (False, "ReservedName")
    assert "have Vault Agent keep the annotation kagenti.io/injected" in answer.message


@pytest.mark.parametrize(
    ("labels", "of_namespace", "warned"),
    [
        ({}, AMBIENT, True),
        (AMBIENT, {}, True),
        ({"istio.io/dataplane-mode": "none"}, AMBIENT, False),
        ({}, {}, False),
        ({}, {"istio.io/dataplane-mode": "none"}, False),
    ],
)
def test_the_ambient_mesh_is_named_with_what_it_means_for_callers(
    labels: dict[str, str], of_namespace: dict[str, str], warned: bool
) -> None:
    """Admitted; the pod's own label goes before its namespace's."""
    world = Cluster(labels={"team1": {**ENROLLED, **of_namespace}})
    answer, _ = admitted(pod(labels={**ENABLED, **labels}), world)
    assert answer.reason == "Label"
    assert [note for note in answer.warnings if note.startswith("AmbientMesh: ")] == (
        [neighbours.ambient_note(excluded=False)] if warned else []
    )


def test_an_excluded_hbone_port_is_said_to_be_a_way_round_validation() -> None:
    """The mesh then brings callers to the app itself."""
    raw = pod(labels={**ENABLED, **AMBIENT}, annotations={"kagenti.io/inbound-ports-exclude": "15008"})
    answer, _ = admitted(raw, LABEL)
    assert neighbours.ambient_note(excluded=True) in answer.warnings


@pytest.mark.parametrize("name", RECORDED)
def test_every_recorded_injector_is_known_by_its_marks(name: str) -> None:
    """And called by its name, once."""
    (found,) = neighbours.named(RECORDED[name]["marks"])
    assert found.lower().split()[0] == name.partition("-")[0]

"""Whom to ask: never a node's address, the newest ready pod of the current revision, or nobody with a reason."""

from typing import Any

import pytest

from kagenti.core import cards
from kagenti.core.cards import AgentPod, Port, Revision
from kagenti.core.workload import WorkloadRef
from kagenti_api.v1alpha1 import wellknown
from tests.unit.core.cards.given import WEATHER, matched, owner, pod

JSON = Any  # raw pods

OTHER = WorkloadRef("apps", "Deployment", "team1", "payroll")


def _manifest(**status: JSON) -> JSON:
    return {
        "metadata": {
            "namespace": "team1", "name": "a", "uid": "u", "creationTimestamp": "2026-11-26T10:00:00Z", "labels": {"app": "a"},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}],
        },
        "spec": {"containers": [
            {"name": wellknown.ENVOY_PROXY, "ports": [{"name": "http", "containerPort": 15124}]},
            {"name": "agent", "ports": [{"containerPort": 53, "protocol": "UDP"}, {"name": "web", "containerPort": 8000}]},
        ]},
        "status": {"phase": "Running", "podIP": "10.1.0.1", "hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                   "conditions": [{"type": "Ready", "status": "True"}], **status},
    }  # fmt: skip


class TestRawPods:
    """What is read of a manifest."""

    def test_everything_that_cards_need(self) -> None:
        """Ports of our own containers and other protocols are nobody's card."""
        assert cards.agent_pod(_manifest()) == AgentPod(
            namespace="team1", name="a", uid="u", created="2026-11-26T10:00:00Z", labels={"app": "a"}, owner=owner("r"),
            ready=True, ip="10.1.0.1", host_ips=("10.0.0.1", "fd00::1"), ports=(Port(8000, "web"),),
        )  # fmt: skip

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    def test_ended_pods_are_none(self, phase: str) -> None:
        """A Job's completed pods match for ever."""
        assert cards.agent_pod(_manifest(phase=phase)) is None

    def test_deleted_pods_are_none(self) -> None:
        """They may still be ready."""
        manifest = _manifest()
        manifest["metadata"]["deletionTimestamp"] = "2026-11-26T10:00:00Z"
        assert cards.agent_pod(manifest) is None

    def test_a_pod_that_was_just_created(self) -> None:
        """No status yet, no labels, no owner."""
        assert cards.agent_pod({"metadata": {"name": "a"}, "spec": {}}) == AgentPod(namespace="", name="a", uid="")


@pytest.mark.parametrize(
    ("pods", "winner", "reason"),
    [
        ([pod("a", minute=1), pod("b", minute=2)], "b", "the newest"),
        ([pod("a", minute=1), pod("b", minute=2, ready=False)], "a", "the newest that is ready"),
        ([pod("a", minute=1), pod("b", minute=2, host_network=True)], "a", "never the host's network"),
        ([pod("a", minute=1), pod("b", minute=2, ip="10.0.0.1")], "a", "never the host's address"),
        ([pod("a", minute=1), pod("b", minute=2, ip="::ffff:10.0.0.1")], "a", "nor the same in another spelling"),
        ([pod("a", minute=1), pod("b", minute=2, ip="")], "a", "no address yet"),
        ([pod("a", minute=1), pod("b", minute=1)], "b", "created within one second: by name, so that it does not flap"),
    ],
)
def test_the_newest_ready_pod_wins(pods: list[AgentPod], winner: str, reason: str) -> None:
    """Whatever the order in which the API server lists them."""
    for given in (pods, list(reversed(pods))):
        chosen = cards.choose(matched(*given), {}).pod
        assert chosen is not None
        assert chosen.name == winner, reason


class TestRevisions:
    """During a rollout two revisions are ready at once."""

    OLD, NEW = pod("old", minute=1, of="rs-1"), pod("new", minute=2, of="rs-2")
    REBORN = pod("reborn", minute=3, of="rs-1")

    def test_the_newest_pod_may_be_of_an_old_revision(self) -> None:
        """An old ReplicaSet replaced a pod that a node lost: what it serves is still old."""
        found = matched(self.OLD, self.NEW, self.REBORN)
        assert {
            workload: {one.revision.controller for one in pods} for workload, pods in found.contested().items()
        } == {WEATHER: {"rs-1", "rs-2"}}
        choice = cards.choose(found, {WEATHER: Revision("rs-2")})
        assert (choice.pod, choice.fellows) == (self.NEW, (self.NEW,))

    def test_unknown_revisions_leave_it_to_the_newest_pod(self) -> None:
        """Nobody could read the ReplicaSets, or the kind does not number its revisions."""
        assert cards.choose(matched(self.OLD, self.NEW), {}).fellows == (self.NEW,)

    def test_a_current_revision_without_a_ready_pod_does_not_count_yet(self) -> None:
        """A rollout that hangs: the old revision serves."""
        found = matched(self.OLD, pod("new", minute=2, of="rs-2", ready=False))
        assert found.contested() == {}
        assert cards.choose(found, {WEATHER: Revision("rs-2")}).pod == self.OLD

    def test_templates_of_a_stateful_set(self) -> None:
        """One controller, two hashes."""
        kept = [pod(f"web-{n}", minute=n, labels={cards.pods.REVISION_LABEL: f"web-{n}"}) for n in (1, 2)]
        assert cards.choose(matched(*kept), {WEATHER: Revision("weather-1", "web-1")}).pod == kept[0]

    def test_one_revision_is_not_contested(self) -> None:
        """Nothing is read then."""
        assert matched(self.OLD, self.REBORN).contested() == {}


def test_each_workload_has_a_current_revision_of_its_own() -> None:
    """The fellows of several workloads are compared too."""
    one, other = pod("a", minute=1, of="rs-a"), pod("b", minute=2, of="rs-b")
    found = matched(one, other, workloads={one.uid: WEATHER, other.uid: OTHER})
    assert found.owners == (OTHER, WEATHER)
    assert cards.choose(found, {}).fellows == (other, one)


def test_standalone_pods_are_workloads() -> None:
    """Each for itself."""
    alone = pod("alone", of="")
    assert [str(found) for found in matched(alone, workloads={}).owners] == ["Pod team1/alone"]


@pytest.mark.parametrize(
    ("pods", "reason", "said"),
    [
        ([], "NoPods", "no pod has the labels"),
        ([pod("a", ready=False)], "NoReadyPod", "the pod that spec.selector matches is not ready"),
        ([pod("a", ready=False), pod("b", ip="")], "NoReadyPod", "none of 2 pods is ready"),
        ([pod("a", host_network=True), pod("b", ready=False)], "HostNetwork", "run the agent without hostNetwork"),
    ],
)
def test_nobody_to_ask_has_a_reason(pods: list[AgentPod], reason: str, said: str) -> None:
    """And says what to do."""
    choice = cards.choose(matched(*pods), {})
    assert (choice.pod, choice.reason) == (None, reason)
    assert said in choice.message


def test_many_workloads_are_named_in_one_line() -> None:
    """A selector that matches a whole namespace."""
    many = [WorkloadRef("apps", "Deployment", "team1", f"d{n}") for n in range(9)]
    assert cards.pods.named(many) == (
        "Deployment d0, Deployment d1, Deployment d2, Deployment d3, Deployment d4 and 4 more"
    )

"""From the operator's caches to the pods that cards read: nothing is lost on the way, and nothing read for nobody."""

import json
import logging
from typing import Any

import pytest

from kagenti import errors
from kagenti.core import cards
from kagenti.core.store import Apply, Delete, Store
from kagenti.kube import AGENT_CARDS, KubeClient, StoredObject
from kagenti.kube.connection import Connection
from kagenti.operator.cards import AgentCards
from kagenti.operator.config import networks
from kagenti.operator.pods import OBSERVED_PODS, ObservedPod

JSON = Any  # raw objects


def _raw(name: str, **status: JSON) -> bytes:
    reference = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r", "controller": True}
    return json.dumps({
        "metadata": {
            "namespace": "team1", "name": name, "uid": name, "resourceVersion": "1", "labels": {"app": "weather"},
            "creationTimestamp": "2026-11-26T10:00:00Z", "ownerReferences": [reference], "managedFields": [{}],
        },
        "spec": {"hostNetwork": False, "containers": [{"name": "a", "ports": [{"name": "a2a", "containerPort": 7000}]}]},
        "status": {
            "phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}], "hostIP": "10.0.0.1",
            "hostIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}], "conditions": [{"type": "Ready", "status": "True"}], **status,
        },
    }).encode()  # fmt: skip


def test_pruning_leaves_what_cards_need() -> None:
    """The operator keeps pods without most of their status."""
    kept = cards.agent_pod(OBSERVED_PODS.decode(_raw("a")).manifest())
    assert kept == cards.agent_pod(json.loads(_raw("a")))
    assert kept is not None
    assert (kept.ready, kept.ip, kept.host_ips) == (True, "10.1.0.1", ("10.0.0.1", "fd00::1"))


class Wired:
    """The part over two stores; nothing runs."""

    def __init__(self) -> None:
        self.store: Store[StoredObject] = Store()
        self.pods: Store[ObservedPod] = Store(OBSERVED_PODS.indexes)
        client: Any = KubeClient(Connection("http://127.0.0.1:9", tls=None))
        nobody: Any = None
        self.part = AgentCards(
            client,
            store=self.store,
            pods=self.pods,
            owners=nobody,
            writer=nobody,
            networks=(),
            logger=logging.Logger("x"),
        )

    def card(self, name: str, *, gone: bool = False) -> None:
        metadata = {"namespace": "team1", "name": name, "uid": name, "generation": 1}
        spec = {"selector": {"matchLabels": {"app": "weather"}}}
        found = AGENT_CARDS.decode(json.dumps({"metadata": metadata, "spec": spec}).encode())
        self.store.apply(Delete(found) if gone else Apply(found))

    def pod(self, name: str, *, gone: bool = False, **status: JSON) -> None:
        found = OBSERVED_PODS.decode(_raw(name, **status))
        self.pods.apply(Delete(found) if gone else Apply(found))

    def matched(self, card: str) -> list[tuple[str, bool]]:
        return sorted((found.name, found.ready) for found in self.part._loop._membership.pods(("team1", card)))


async def test_pods_reach_the_cards_of_their_namespace() -> None:
    """Those that were there before the first card, changed ones, ended ones, and none after the last card."""
    wired = Wired()
    wired.pod("a")
    assert wired.part._seen == {}
    wired.card("one")
    wired.card("two")
    wired.pod("b", conditions=[])
    assert wired.matched("one") == wired.matched("two") == [("a", True), ("b", False)]
    wired.pod("b")
    wired.pod("a", phase="Succeeded")
    assert wired.matched("one") == [("b", True)]
    wired.card("one", gone=True)
    wired.pod("b", gone=True)
    wired.pod("c")
    assert wired.matched("two") == [("c", True)]
    wired.card("two", gone=True)
    wired.pod("d")
    assert wired.part._seen == {}
    wired.card("two")
    assert wired.matched("two") == [("c", True), ("d", True)]


def test_networks_of_the_command_line() -> None:
    """Commas between, blanks allowed, both families; what is none is said."""
    assert [str(found) for found in networks(" 10.0.0.0/8, fd00::/8,")] == ["10.0.0.0/8", "fd00::/8"]
    assert networks("") == ()
    for text in ("10.0.0.1/8", "pods", "10.0.0.0/33"):
        with pytest.raises(errors.UsageError, match=f"--pod-networks has '{text}'"):
            networks(text)

"""Which revision is the current one, as the controllers say it."""

import json
from typing import Any

import pytest

from kagenti import errors
from kagenti.core.cards import Revision
from kagenti.core.cards.pods import REVISION_LABEL
from kagenti.kube.revisions import RevisionReader
from tests.unit.core.cards.given import owner, pod

JSON = Any  # objects

DEPLOYMENT, ROLLOUT = "deployment.kubernetes.io/revision", "rollout.argoproj.io/revision"


class Server:
    """Answers GETs from a table of objects by path."""

    def __init__(self, **objects: JSON) -> None:
        self.objects = objects

    async def get(self, path: str, *, timeout: float) -> bytes:
        name = path.rpartition("/")[2]
        if name not in self.objects:
            raise errors.NotFound(path)
        return json.dumps(self.objects[name]).encode()


def _replica_set(name: str, **annotations: str) -> JSON:
    return {"metadata": {"name": name, "uid": name, "annotations": annotations}}


PODS = (pod("a", of="rs-1"), pod("b", of="rs-2"))


@pytest.mark.parametrize(
    ("objects", "current", "reason"),
    [
        ({"rs-1": _replica_set("rs-1", **{DEPLOYMENT: "9"}), "rs-2": _replica_set("rs-2", **{DEPLOYMENT: "10"})}, "rs-2",
         "numbers, not text"),
        ({"rs-1": _replica_set("rs-1", **{DEPLOYMENT: "3"}), "rs-2": _replica_set("rs-2", **{DEPLOYMENT: "2"})}, "rs-1",
         "a rollback numbers the old one anew"),
        ({"rs-1": _replica_set("rs-1", **{ROLLOUT: "2"}), "rs-2": _replica_set("rs-2", **{ROLLOUT: "1"})}, "rs-1",
         "Argo numbers them too"),
        ({"rs-1": _replica_set("rs-1", **{DEPLOYMENT: "3"})}, "rs-1", "the other one is gone"),
        ({"rs-1": {"metadata": {"uid": "another", "annotations": {DEPLOYMENT: "3"}}}}, None, "recreated under its name"),
        ({"rs-1": _replica_set("rs-1"), "rs-2": _replica_set("rs-2", **{DEPLOYMENT: "x"})}, None, "nobody numbers them"),
        ({}, None, "all are gone"),
    ],
)  # fmt: skip
async def test_replica_sets(objects: JSON, current: str | None, reason: str) -> None:
    """The highest number."""
    found = await RevisionReader(Server(**objects)).current(PODS)
    assert found == (Revision(current) if current else None), reason


async def test_stateful_sets() -> None:
    """It names its newest template."""
    pods = [
        pod(f"web-{n}", of="", owner=owner("web", "StatefulSet"), labels={REVISION_LABEL: f"web-{n}"}) for n in (1, 2)
    ]
    web = {"metadata": {"uid": "web"}, "status": {"updateRevision": "web-1"}}
    assert await RevisionReader(Server(web=web)).current(pods) == pods[0].revision
    assert await RevisionReader(Server()).current(pods) is None


async def test_other_kinds_are_not_read() -> None:
    """A DaemonSet's newest pod is of its newest template; of unknown kinds nothing is known."""
    reader = RevisionReader(Server())
    for kind in ("DaemonSet", "Widget"):
        assert await reader.current([pod(name, of="", owner=owner("d", kind)) for name in "ab"]) is None
    assert reader.reads == 0


async def test_an_answer_that_is_no_object() -> None:
    """Somebody else's page."""

    class Page(Server):
        async def get(self, path: str, *, timeout: float) -> bytes:
            return b"<html>"

    with pytest.raises(errors.Unreachable, match="no object"):
        await RevisionReader(Page()).current(PODS)

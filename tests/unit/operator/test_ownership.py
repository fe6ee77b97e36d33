"""The owner reference of our webhook configurations: what is written, when nothing is, and what is said when it cannot be."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.operator.ownership import CONFIGURATIONS, Ownership, owned

JSON = Any  # a raw object

NAMESPACE = {"metadata": {"name": "kagenti-system", "uid": "u-namespace"}}
MINE = {"apiVersion": "v1", "kind": "Namespace", "name": "kagenti-system", "uid": "u-namespace"}


def configuration(*references: JSON, uid: str = "u-1") -> JSON:
    """A configuration with these owners."""
    metadata = {"name": "kagenti-injector", "uid": uid, "ownerReferences": list(references)}
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": metadata,
    }


class Cluster:
    """Objects by path; ``applied`` is what was written, ``refuses`` what every write raises."""

    def __init__(self, objects: Mapping[str, JSON], refuses: errors.ClusterError | None = None) -> None:
        self.objects, self.refuses = dict(objects), refuses
        self.applied: list[tuple[str, JSON]] = []
        self.wrote = asyncio.Event()

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes:
        """Returns the object; a list of namespaces is asked for by name."""
        if path == "/api/v1/namespaces":
            assert params == {"fieldSelector": "metadata.name=kagenti-system"}
        if path not in self.objects:
            raise errors.NotFound(f"no {path}")
        return orjson.dumps(self.objects[path])

    async def apply(self, path: str, manifest: JSON, *, manager: str) -> bytes:
        """Notes it."""
        self.wrote.set()
        if self.refuses is not None:
            raise self.refuses
        assert manager == "kagenti-ownership"
        self.applied.append((path, manifest))
        return b"{}"


def of(cluster: Cluster, **details: float) -> Ownership:
    """The part under test."""
    return Ownership(cluster, namespace="kagenti-system", logger=logging.getLogger("test"), **details)


@pytest.mark.parametrize(
    ("why", "references", "written"),
    [
        ("without an owner", (), True),
        ("with somebody else's", ({**MINE, "uid": "u-other"},), True),
        ("with ours", (MINE,), False),
    ],
)
def test_the_namespace_is_written_once(why: str, references: tuple[JSON, ...], written: bool) -> None:
    """By UID: a namespace of that name that was made anew is another one. The manifest fails on another object."""
    manifest = owned(configuration(*references), NAMESPACE)
    assert (manifest is not None) is written
    if manifest is not None:
        assert manifest["metadata"] == {"name": "kagenti-injector", "uid": "u-1", "ownerReferences": [MINE]}
        assert "webhooks" not in manifest


async def test_both_configurations_are_looked_at_and_one_that_is_missing_is_passed_over() -> None:
    """The first does not exist: the second is written."""
    cluster = Cluster({"/api/v1/namespaces": {"items": [NAMESPACE]}, CONFIGURATIONS[1]: configuration()})
    await of(cluster).look()
    assert [path for path, _ in cluster.applied] == [CONFIGURATIONS[1]]


async def test_without_the_namespace_nothing_is_written() -> None:
    """It is on its way out."""
    cluster = Cluster({"/api/v1/namespaces": {"items": []}, CONFIGURATIONS[0]: configuration()})
    await of(cluster).look()
    assert cluster.applied == []


async def test_a_refusal_is_said_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """Where an admission plugin guards owner references, for one: the process goes on."""
    cluster = Cluster(
        {"/api/v1/namespaces": {"items": [NAMESPACE]}, CONFIGURATIONS[0]: configuration()}, errors.Forbidden("not you")
    )
    running = asyncio.create_task(of(cluster, poll=0.0).run())
    for _ in range(3):
        cluster.wrote.clear()
        await asyncio.wait_for(cluster.wrote.wait(), 5)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    said = [record for record in caplog.records if "have no owner" in record.message]
    assert [record.__dict__["fields"]["problem"] for record in said] == ["not you"]

"""Our webhook configurations belong to the release's namespace: deleting it never leaves an entry that fails every pod.

The chart cannot say so, because an owner is named by its UID; the leader does, once it runs (spec 07).
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

import orjson

from kagenti import errors

JSON = Any  # a raw object, or a manifest of parts of one

MANAGER: Final = "kagenti-ownership"
"""Field manager of the owner references."""
CONFIGURATIONS: Final = (
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kagenti-injector",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kagenti-validator",
)
POLL: Final = 30.0
"""Seconds between two looks: an upgrade, or a tool that applies what Git says, may have made the object anew."""


class Requests(Protocol):
    """Raw requests; raises ClusterError."""

    async def get(self, path: str, *, params: Mapping[str, str] | None = None) -> bytes:
        """Returns the body of a GET."""

    async def apply(self, path: str, manifest: JSON, *, manager: str) -> bytes:
        """Returns the object after a forced server-side apply."""


class Ownership:
    """Keeps the owner references, for as long as this process leads; ``poll`` is in seconds, for tests."""

    def __init__(self, client: Requests, *, namespace: str, logger: logging.Logger, poll: float = POLL) -> None:
        self._client, self._namespace, self._logger, self._poll = client, namespace, logger, poll
        self._problem = ""

    async def run(self) -> None:
        """Looks until cancelled; what fails is said once and tried again."""
        while True:
            try:
                await self.look()
                self._problem = ""
            except errors.ClusterError as problem:
                self._say(str(problem))
            await asyncio.sleep(self._poll)

    async def look(self) -> None:
        """Writes what is missing; a configuration that does not exist is passed over. Raises ClusterError."""
        owner = await self._owner()
        if owner is None:
            return
        for path in CONFIGURATIONS:
            try:
                found = orjson.loads(await self._client.get(path))
                manifest = owned(found, owner)
                if manifest is not None:
                    await self._client.apply(path, manifest, manager=MANAGER)
            except errors.NotFound:
                continue

    async def _owner(self) -> JSON | None:
        """Returns the release's namespace; by a list of one, which needs no right that the watch does not need."""
        query = {"fieldSelector": f"metadata.name={self._namespace}"}
        listed = orjson.loads(await self._client.get("/api/v1/namespaces", params=query))["items"]
        return listed[0] if listed else None

    def _say(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            fields = {"problem": problem, "namespace": self._namespace}
            self._logger.warning(
                "webhook configurations have no owner: delete them with the namespace", extra={"fields": fields}
            )


def owned(configuration: JSON, namespace: JSON) -> JSON | None:
    """Returns what to apply so that a configuration belongs to that namespace; None where it does already.

    The manifest carries ``metadata.uid``: applied to a configuration that was deleted meanwhile it fails, where it would
    otherwise make it again, without entries.
    """
    metadata, uid = configuration["metadata"], namespace["metadata"]["uid"]
    if any(reference.get("uid") == uid for reference in metadata.get("ownerReferences") or ()):
        return None
    reference = {"apiVersion": "v1", "kind": "Namespace", "name": namespace["metadata"]["name"], "uid": uid}
    return {
        "apiVersion": configuration["apiVersion"],
        "kind": configuration["kind"],
        "metadata": {"name": metadata["name"], "uid": metadata["uid"], "ownerReferences": [reference]},
    }

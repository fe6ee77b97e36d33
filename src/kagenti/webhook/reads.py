"""The API calls that one process makes in order to decide, each bounded by a second and counted; never a write."""

from collections.abc import Mapping
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from kagenti import errors
from kagenti.core.admission.targets import TargetFacts
from kagenti.core.trigger import OwnerProof
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import KINDS, Current, OwnerReader, StoredObject, StrictReader
from kagenti.webhook.targets import TargetReader

BUDGET: Final = 1.0
"""Seconds for one read (spec 03); the API server gives up on the whole review after 5."""


class Get(Protocol):
    """Reads one path as raw bytes; raises ClusterError."""

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, timeout: float = BUDGET) -> bytes:
        """Returns the body."""


class Reads:
    """Owner chains, strict lists, namespaces that the cache has not seen yet, and targets of new AgentRuntimes."""

    def __init__(self, client: Get, caches: Current) -> None:
        self._client, self._caches = client, caches
        self._owners = OwnerReader(client)
        self._strict = StrictReader(client)
        self._targets = TargetReader(client, self._owners)
        self._namespaces = 0

    def counts(self) -> Mapping[str, int]:
        """Returns the number of calls so far, by kind of call."""
        return {
            "owner": self._owners.reads,
            "strict": self._strict.reads,
            "namespace": self._namespaces,
            "target": self._targets.reads,
        }

    async def caught_up(self) -> None:
        """Returns once no cache is known to be behind; one whose watch is lost is asked for at once."""
        await self._caches.wait()

    async def top_owner(self, reference: OwnerReference, namespace: str) -> WorkloadRef | None:
        """Returns the top of an owner chain, or None when the reference does not hold."""
        return await self._owners.top_owner(reference, namespace)

    async def proof_of(self, reference: OwnerReference, namespace: str) -> OwnerProof:
        """Returns whether the top of an owner chain exists under its UID."""
        return await self._owners.proof_of(reference, namespace)

    async def runtimes_for(self, namespace: str, kind: str, name: str) -> tuple[StoredObject, ...]:
        """Returns the AgentRuntimes that target kind and name now, by a consistent read."""
        return await self._strict.runtimes_for(namespace, kind, name)

    async def namespace_labels(self, namespace: str) -> Mapping[str, str] | None:
        """Returns the labels of a namespace that is too new for the cache; None where it does not exist."""
        self._namespaces += 1
        kind = KINDS["Namespace"]
        try:
            body = await self._client.get(f"{kind.path}/{quote(namespace, safe='')}", timeout=BUDGET)
            return kind.decode(body).labels
        except errors.NotFound:
            return None
        except msgspec.DecodeError as error:
            raise errors.Unreachable(f"the API server's answer about namespace {namespace} cannot be read") from error

    async def target_facts(self, target: WorkloadRef) -> TargetFacts:
        """Returns what is known of an AgentRuntime's target; never raises."""
        return await self._targets.facts(target)

"""The AgentCards of one operator process: what feeds them, and what runs while it leads.

Only pods of namespaces that have an AgentCard are read for it; the rest of a large cluster costs nothing.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping

from kagenti.core import cards
from kagenti.core.cards import AgentPod, Networks
from kagenti.core.store import Store
from kagenti.fetch import ApiServers
from kagenti.kube import KubeClient, StoredObject
from kagenti.kube.revisions import RevisionReader
from kagenti.operator.cards.client import CardClient
from kagenti.operator.cards.loop import CardLoop, Writer
from kagenti.operator.cards.rounds import Owners, Rounds
from kagenti.operator.pods import ObservedPod


class AgentCards:
    """Fetches cards while its process leads.

    Args:
        client: Reads revisions.
        store: The AgentCards, with their status.
        pods: All pods.
        owners: Resolves owners.
        writer: Writes statuses and events.
        networks: The networks that pods have their addresses from; empty means any that is not forbidden.
        logger: The log.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        store: Store[StoredObject],
        pods: Store[ObservedPod],
        owners: Owners,
        writer: Writer,
        networks: Networks,
        logger: logging.Logger,
    ) -> None:
        self._api_servers = ApiServers(client.server)
        self._agents = CardClient(networks=networks, api_servers=self._api_servers.known)
        self._pods = pods
        self._seen: dict[str, dict[str, AgentPod]] = {}
        self._cards: Counter[str] = Counter()
        rounds = Rounds(self._agents.ask, owners, RevisionReader(client), logger=logger)
        ready: Callable[[], bool] = lambda: store.synced and pods.synced  # noqa: E731  # two words
        self._loop = CardLoop(store, rounds, writer, ready=ready, logger=logger)
        store.on_change(self._card_changed)
        pods.on_change(self._pod_changed)

    async def run(self) -> None:
        """Fetches until cancelled."""
        await self._api_servers.look()
        async with self._agents, asyncio.TaskGroup() as group:
            group.create_task(self._api_servers.run(), name="API servers")
            group.create_task(self._loop.run(), name="card rounds")

    def states(self) -> Mapping[str, int]:
        """Returns the number of AgentCards by the reason of Synced."""
        return self._loop.states()

    def rounds(self) -> Mapping[str, int]:
        """Returns the rounds by the reason that Synced had after them."""
        return self._loop.outcomes

    def late(self) -> float:
        """Returns by how many seconds the last round began late."""
        return self._loop.figures()["late"]

    def _card_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        """Takes in the pods of a namespace that has its first card, and forgets those of one that had its last."""
        either = new or old
        if either is None or (old is not None and new is not None):
            return
        namespace = either.namespace
        self._cards[namespace] += 1 if new is not None else -1
        if new is not None and self._cards[namespace] == 1:
            for pod in self._pods.by_index("namespace", namespace):
                self._pod_changed(None, pod)
        elif self._cards[namespace] == 0:
            del self._cards[namespace]
            for agent in self._seen.pop(namespace, {}).values():
                self._loop.change_pod(agent, None)

    def _pod_changed(self, old: ObservedPod | None, new: ObservedPod | None) -> None:
        either = new or old
        if either is None or either.namespace not in self._cards:
            return
        if old is not None and new is not None and old.same(new):
            return
        seen = self._seen.setdefault(either.namespace, {})
        before = seen.pop(old.uid, None) if old is not None else None
        after = cards.agent_pod(new.manifest()) if new is not None and new.live else None
        if after is not None:
            seen[after.uid] = after
        self._loop.change_pod(before, after)

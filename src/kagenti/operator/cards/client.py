"""Asks one pod for its card: at the pod's own address, with nothing of ours, and bounded whatever it answers."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final, Self

from kagenti.core import cards
from kagenti.core.cards import AgentPod, Networks
from kagenti.core.untrusted import Refused
from kagenti.fetch import Answer, Fetcher, Limits

JSON = Any  # spec.endpoint

SECONDS: Final = 5.0
"""Seconds for one fetch, body included; a path that is answered 404 has its own."""
_AT_ONCE: Final = 256  # fetches in flight: agents that answer nothing hold theirs for five seconds

ApiServers = Collection[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer, and where it came from."""

    url: str
    answer: Answer


class NoCard(Exception):
    """Why a pod's answer is not used: the URL that was asked last, and the refusal."""

    def __init__(self, url: str, refused: Refused) -> None:
        super().__init__(f"{url}: {refused}")
        self.url, self.refused = url, refused


class CardClient:
    """The client of one process; an async context manager.

    Args:
        networks: The networks that pods have their addresses from; empty means any that is not forbidden.
        api_servers: Reads the addresses and ports of the API server, which is never asked.
        seconds: For one fetch.
    """

    def __init__(
        self,
        *,
        networks: Networks = (),
        api_servers: Callable[[], ApiServers] = tuple,
        seconds: float = SECONDS,
    ) -> None:
        self._networks, self._api_servers = networks, api_servers
        # Like a kubelet's probe, https to a pod's address verifies nothing: no certificate is for a pod's address, the
        # card is untrusted anyway, and nothing of ours is sent along.
        self._fetcher = Fetcher(
            Limits(cards.MOST_BYTES, seconds, _AT_ONCE), accept="application/json", verify=lambda: False
        )
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._fetcher)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ask(self, pod: AgentPod, endpoint: Mapping[str, JSON], *, known: tuple[str, str] = ("", "")) -> Reply:
        """Returns what a pod answers.

        Args:
            pod: The pod, with an address of its own.
            endpoint: ``spec.endpoint``; an empty object without one.
            known: URL and ETag of the answer that the caller has.

        Raises:
            NoCard: The address is not dialled, or no URL has a usable answer.
        """
        first, *others = cards.urls_of(endpoint, pod)
        port = cards.port_of(endpoint, pod.ports)
        url = first
        try:
            cards.refuse_pod_address(pod, port, networks=self._networks, api_servers=self._api_servers())
            for url in (first, *others):
                try:
                    return Reply(url, await self._fetcher.get(url, etag=known[1] if known[0] == url else ""))
                except Refused as refused:
                    if refused.code != "NotFound":
                        raise
            raise Refused("NotFound", "answered 404" + (f", and so was {first}" if others else ""))
        except Refused as refused:
            raise NoCard(url, refused) from refused

"""Where the API server is, as addresses: nothing that a namespace may name is fetched from there (spec 05, 06)."""

import asyncio
import os
import socket
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

_EVERY: Final = 60.0  # seconds: a managed API server's name changes its addresses now and then


class ApiServers:
    """Addresses and ports of one API server: of the URL that we use, and of its Service as a pod sees it."""

    def __init__(self, server: str, *, environment: Mapping[str, str] = os.environ) -> None:
        parts = urlsplit(server)
        self._names = {(parts.hostname or "", parts.port or 443)}
        if host := environment.get("KUBERNETES_SERVICE_HOST"):
            self._names.add((host, int(environment.get("KUBERNETES_SERVICE_PORT") or 443)))
        self._known: frozenset[tuple[str, int]] = frozenset()

    def known(self) -> frozenset[tuple[str, int]]:
        """Returns every address that one of the names had at the last look, with its port."""
        return self._known

    async def look(self) -> None:
        """Resolves the names; one that does not resolve now keeps the addresses it had."""
        found: set[tuple[str, int]] = set()
        for host, port in self._names:
            try:
                answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
            except OSError:
                found |= self._known
            else:
                found |= set(_addresses(answers))
        self._known = frozenset(found)

    async def run(self) -> None:
        """Looks again and again until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_EVERY)


def _addresses(
    answers: Iterable[tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]],
) -> Iterable[tuple[str, int]]:
    for *_, address in answers:
        yield str(address[0]).partition("%")[0], int(address[1])

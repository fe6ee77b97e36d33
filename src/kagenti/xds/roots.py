"""What the certificates of identity providers are checked with: the system's roots, and the installation's own beside them."""

import asyncio
import ssl
from logging import Logger
from pathlib import Path

from kagenti import tls


class Roots:
    """Makes the context anew when the file of our own CAs changes; raises ManifestError where it cannot be used at start.

    Args:
        path: PEM of the CAs; None: the system's roots alone.
        logger: Told of a changed file that cannot be used, once, and of one that can.
        poll: Seconds between two looks at the file.
    """

    def __init__(self, path: Path | None, logger: Logger, *, poll: float) -> None:
        what = "the CA certificates of the identity providers"
        self._authorities = None if path is None else tls.Authorities(path, what=what, report=logger.error)
        self._logger, self._poll = logger, poll
        self._context = self._made()

    def context(self) -> ssl.SSLContext:
        """Returns the context in force."""
        return self._context

    async def run(self) -> None:
        """Looks at the file until cancelled."""
        while True:
            await asyncio.sleep(self._poll)
            if self._authorities is not None and self._authorities.reload():
                self._context = self._made()
                self._logger.info("CA of identity providers reloaded")

    def _made(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._authorities is not None:
            context.load_verify_locations(cadata=self._authorities.pem)
        return context

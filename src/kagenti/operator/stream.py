"""What kopf's watch streams see and no handler is told: where a full list begins and ends, bookmarks, and their death.

Wraps one private function of exactly one version of kopf, which pyproject.toml pins. Without it an object that is deleted
while the watch is being opened anew would stay in our stores for ever, and a dead stream would look like a quiet one. When one
stream has died kopf ends the others, and may hang then for a minute and more (seen where a CRD was deleted).
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, Final, Protocol

from kopf._cogs.clients import watching
from kopf._cogs.clients.errors import APITooManyRequestsError

from kagenti import errors

VERSION: Final = "1.45.2"
"""The version of kopf that was read for this."""

Event = Any  # a raw watch event, or kopf's own mark


class Tap(Protocol):
    """Is told what passes; on kopf's own event loop."""

    async def listing(self, plural: str) -> None:
        """A full list of that resource is about to begin: waits until every event before it has been handled."""

    def found(self, plural: str, manifest: Event) -> None:
        """An object of the full list passes; kopf does not see it."""

    def listed(self, plural: str) -> None:
        """The full list is complete."""

    def passing(self, plural: str, *, bookmark: bool) -> None:
        """A bookmark passes, or an event that kopf has a handler called for."""

    def died(self, plural: str, failure: Exception) -> None:
        """The stream has failed for good, and kopf is about to end."""


@contextmanager
def tapped(tap: Tap) -> Iterator[None]:
    """Makes ``tap`` hear of every stream that kopf opens while the block runs.

    Raises:
        Defect: This is another version of kopf, whose streams may be made otherwise.
    """
    installed = version("kopf")
    if installed != VERSION:
        raise errors.Defect(f"kopf {installed} is installed, and its streams were read at {VERSION}; pin that one")
    original = watching.continuous_watch

    async def continuous_watch(**arguments: Any) -> AsyncIterator[Event]:  # Any: kopf's own arguments, passed through
        plural = arguments["resource"].plural
        try:
            await tap.listing(plural)
            async for event in original(**arguments):
                if event is watching.Bookmark.LISTED:
                    tap.listed(plural)
                elif event["type"] is None:
                    tap.found(plural, event["object"])
                    continue
                else:
                    tap.passing(plural, bookmark=event["type"] == "BOOKMARK")
                yield event
        except APITooManyRequestsError:
            raise  # the one failure after which kopf opens a stream anew
        except Exception as failure:
            tap.died(plural, failure)
            raise

    watching.continuous_watch = continuous_watch
    try:
        yield
    finally:
        watching.continuous_watch = original

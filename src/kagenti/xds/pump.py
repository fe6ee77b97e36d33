"""Who is to be pushed to next: streams are marked in any number at no cost and served in slices, oldest mark first."""

import asyncio
import collections
from typing import Final

from kagenti.xds.conversation import Conversation

_SLICE: Final = 50  # streams served before the loop may read their answers and whatever else waits (facts §5)


class Pump:
    """One queue for all streams of a server."""

    def __init__(self) -> None:
        self._marked: collections.deque[Conversation] = collections.deque()
        self._wake: Final = asyncio.Event()

    def mark(self, conversation: Conversation) -> None:
        """Has the newest snapshot pushed to a stream soon; again before that changes nothing."""
        if conversation.dirty:
            return
        conversation.dirty = True
        self._marked.append(conversation)
        self._wake.set()

    async def run(self) -> None:
        """Serves marked streams until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._marked:
                for _ in range(min(_SLICE, len(self._marked))):
                    self._serve(self._marked.popleft())
                await asyncio.sleep(0)

    def _serve(self, conversation: Conversation) -> None:
        try:
            conversation.push()
        except Exception as error:  # whatever one stream stumbles over must not stop all others
            conversation.end("a push failed")
            report = {"message": "a push to an Envoy failed", "exception": error}
            asyncio.get_running_loop().call_exception_handler(report)

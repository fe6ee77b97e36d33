"""When pods may be evicted: never while no webhook is registered, or nobody knows."""

from typing import Any

import orjson
import pytest

from kagenti import errors
from kagenti.core.rollout import Webhook
from kagenti.operator.webhook_ready import WebhookReadiness

JSON = Any  # a raw MutatingWebhookConfiguration


class Answers:
    """The API server: the configuration, or the error that reading it raises; counts the reads."""

    def __init__(self, answer: JSON) -> None:
        self.answer, self.reads = answer, 0

    async def get(self, path: str, *, timeout: float) -> bytes:
        """Returns it."""
        assert path.endswith("/kagenti-injector")
        assert timeout > 0
        self.reads += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return orjson.dumps(self.answer)


async def ask(answer: JSON) -> tuple[Webhook, str | None]:
    """What is found of the webhook, and its scope."""
    readiness = WebhookReadiness(Answers(answer), mode="cr")
    return await readiness(), readiness.scope


UNREGISTERED: list[tuple[str, JSON, str, str | None]] = [
    ("not registered", errors.NotFound("no"), "does not exist", ""),
    ("registered without our entry", {"metadata": {"name": "kagenti-injector"}}, "has no entry", ""),
    ("the API server does not answer", errors.Unreachable("no answer"), "cannot be read: no answer", None),
]


@pytest.mark.parametrize(("why", "answer", "missing", "scope"), UNREGISTERED, ids=[row[0] for row in UNREGISTERED])
async def test_what_is_not_registered_is_not_ready(why: str, answer: JSON, missing: str, scope: str | None) -> None:
    """Each row; of an API server that is away nothing is known of whom the webhook is called for."""
    found, known = await ask(answer)
    assert not found.ready, why
    assert missing in found.missing
    assert known == scope


async def test_many_who_want_to_know_are_one_question() -> None:
    """An answer counts for a moment."""
    api, seconds = Answers(errors.NotFound("no")), [0.0]
    readiness = WebhookReadiness(api, mode="cr", now=lambda: seconds[0])
    for _ in range(5):
        await readiness()
    assert api.reads == 1
    seconds[0] = 0.5
    await readiness()
    assert api.reads == 2

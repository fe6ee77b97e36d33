"""TokenReview: what of an answer counts, and how rarely it is asked."""

import asyncio
from typing import Any

import pytest

from kagenti import errors
from kagenti.xds.reviews import PATH, TokenReviewer
from kagenti.xds.session import Refused
from kagenti.xds.tokens import Claims
from tests.unit.xds.cluster import NOW, FakeApi, token

JSON = Any  # the status of a TokenReview


def _status(**overrides: JSON) -> JSON:
    user = {
        "username": "system:serviceaccount:team1:weather",
        "extra": {
            "authentication.kubernetes.io/pod-name": ["weather-1"],
            "authentication.kubernetes.io/pod-uid": ["pod-1"],
        },
    }
    return {"authenticated": True, "audiences": ["kagenti-xds"], "user": user} | overrides


class Bench:
    """A reviewer over an API server by script."""

    def __init__(self, **status: JSON) -> None:
        self.api, self.time = FakeApi({PATH: {"status": _status(**status)}}), NOW
        self.reviewer = TokenReviewer(self.api, clock=lambda: self.time)


async def test_an_accepted_token_names_its_pod() -> None:
    """Asked with our audience; the end is the token's own where it can be read."""
    bench = Bench()
    assert await bench.reviewer.review(token()) == Claims("team1", "weather", "weather-1", "pod-1", NOW + 3600)
    (posted,) = bench.api.posted
    assert posted["spec"] == {"token": token(), "audiences": ["kagenti-xds"]}


async def test_an_opaque_token_is_asked_about_again_soon() -> None:
    """Nobody can see when it ends."""
    bench = Bench()
    assert (await bench.reviewer.review("opaque")).expires_at == NOW + 300


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"authenticated": False, "error": "secret detail"}, "does not accept"),
        ({"authenticated": None}, "does not accept"),
        ({"audiences": ["other"]}, "audience"),
        ({"audiences": None}, "audience"),
        ({"user": {"username": "system:serviceaccount:team1:weather"}}, "not bound to a pod"),
        ({"user": {"username": "jane", "extra": _status()["user"]["extra"]}}, "not bound to a pod"),
        ({"user": None}, "not bound to a pod"),
    ],
)
async def test_everything_else_is_refused(status: JSON, said: str) -> None:
    """In our words."""
    with pytest.raises(Refused, match=said) as refused:
        await Bench(**status).reviewer.review("opaque")
    assert "secret" not in str(refused.value)


async def test_each_token_is_asked_about_once() -> None:
    """Accepted or not, together or one after the other, until it ends."""
    for status in ({}, {"authenticated": False}):
        bench = Bench(**status)
        await asyncio.gather(*(bench.reviewer.review("opaque") for _ in range(20)), return_exceptions=True)
        await asyncio.gather(bench.reviewer.review("opaque"), return_exceptions=True)
        assert bench.reviewer.reviews == 1
        bench.time += 301
        await asyncio.gather(bench.reviewer.review("opaque"), return_exceptions=True)
        assert bench.reviewer.reviews == 2


async def test_few_at_a_time() -> None:
    """A storm waits in our queue, not in the API server's."""
    running, most = 0, 0

    class Slow(FakeApi):
        async def post(self, path: str, body: JSON, **_: object) -> bytes:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return await super().post(path, body)

    reviewer = TokenReviewer(Slow({PATH: {"status": _status()}}), clock=lambda: NOW)
    await asyncio.gather(*(reviewer.review(f"opaque-{number}") for number in range(100)))
    assert most <= 8


async def test_an_outage_is_no_verdict() -> None:
    """Envoy is told to come again, and the next one is asked about again."""
    bench = Bench()
    bench.api.objects[PATH] = errors.Unreachable("down")
    for _ in range(2):
        with pytest.raises(errors.ClusterError):
            await bench.reviewer.review("opaque")
    assert bench.reviewer.reviews == 2

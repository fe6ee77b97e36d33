"""The bounds of the exchange's cache, with the script's figures made small enough to be met in a test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from kagenti.core.envoy import exchange_script
from tests.component.envoy.conftest import Stage, staged
from tests.component.envoy.loopback import until
from tests.oidc import TOKEN_PATH, Answer
from tests.unit.core.settings.given import rule

TOOL: Final = "tool.team1.svc"
TIMES: Final = "local TIMEOUT_MS, KEEP_MS, MARGIN_MS, FAILURE_MS = 5000, 300000, 30000, 1000"
SIZES: Final = "local GENERATION, LONGEST_KEY, LARGEST = 500, 8192, 65536"


RULE: Final = rule(TOOL, target={"audience": "tool", "scopes": ["aud-tool"]})


def changed(times: str) -> str:
    """Returns the script with these times, and 2 x 2 entries of at most 2,000 characters."""
    assert TIMES in exchange_script.SCRIPT
    assert SIZES in exchange_script.SCRIPT
    small = exchange_script.SCRIPT.replace(TIMES, TIMES.partition("=")[0] + times)
    return small.replace(SIZES, SIZES.partition("=")[0] + "= 2, 2000, 65536")


@pytest.fixture(scope="module")
def script() -> str:
    """A call takes 300 ms at most, and a failure is kept for 100 ms."""
    return changed("= 300, 300000, 30000, 100")


@pytest.fixture(autouse=True)
def _rules(stage: Stage) -> Iterator[None]:
    stage.apply(RULE)
    yield
    stage.oidc.requests.clear()


def exchanged(stage: Stage, token: str) -> bool:
    """Sends a request; returns whether the provider was asked for it."""
    before = len(stage.oidc.token_requests())
    assert stage.get(stage.to(TOOL), token).status == 200
    return len(stage.oidc.token_requests()) > before


def test_the_older_half_goes_as_a_whole(stage: Stage) -> None:
    """Never more than two generations: what was not asked for since is forgotten."""
    tokens = [stage.caller() for _ in range(5)]
    assert [exchanged(stage, token) for token in tokens[:4]] == [True] * 4
    assert [exchanged(stage, token) for token in tokens[:4]] == [False] * 4
    assert exchanged(stage, tokens[4])
    assert [exchanged(stage, token) for token in (*tokens[2:], tokens[0])] == [False, False, False, True]


def test_a_token_is_kept_no_longer_than_the_limit(tmp_path: Path) -> None:
    """However long the answer's token lives; here the limit is nothing."""
    with staged(tmp_path, changed("= 300, 0, 30000, 100")) as stage:
        stage.apply(RULE)
        token = stage.caller()
        assert [exchanged(stage, token), exchanged(stage, token)] == [True, True]


def test_a_huge_token_is_exchanged_but_not_kept(stage: Stage) -> None:
    """A thousand entries of any size would be any amount of memory."""
    token = stage.caller(padding="x" * 2000)
    assert [exchanged(stage, token), exchanged(stage, token)] == [True, True]


def test_the_provider_out_of_reach_is_told_and_forgotten_soon(stage: Stage) -> None:
    """A failure is not asked about again at once, and not remembered for long."""
    token = stage.caller()
    stage.oidc.stop()
    answer = stage.get(stage.to(TOOL), token)
    stage.oidc.start()
    assert (answer.status, "IdentityProviderUnavailable" in answer.text) == (503, True)
    assert stage.get(stage.to(TOOL), token).status == 503
    assert stage.oidc.token_requests() == []
    until(lambda: stage.get(stage.to(TOOL), token).status == 200, "the failure is forgotten")


def test_a_provider_that_does_not_answer_is_given_up(stage: Stage) -> None:
    """The caller waits no longer than the limit of the call."""
    held = Answer.held()
    stage.oidc.script(TOKEN_PATH, held)
    answer = stage.get(stage.to(TOOL), stage.caller())
    held.release()
    assert (answer.status, "answered 504" in answer.text) == (503, True)

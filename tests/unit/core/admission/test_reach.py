"""Whom a config write breaks or overrules: all of them with time enough, and an honest count without."""

from typing import Any

import pytest

from kagenti.core.admission import validate
from kagenti.core.admission.respond import Answer
from tests.unit.core.admission.cluster import Cluster, context, layers, ours, reference, request, stored

JSON = Any  # a manifest

PORT = {"identity": {"outbound": {"trafficInterception": {"proxyPort": 15200}}}}
CLASH = {"identity": {"outbound": {"trafficInterception": {"inboundProxyPort": 15200}}}}
RATE = {"trace": {"sampling": {"rate": 1.0}}}


def crowd(harmless: int, *specs: JSON) -> Cluster:
    """That many harmless AgentRuntimes, then one of each spec."""
    every = [*[{}] * harmless, *specs]
    runtimes = [
        stored("team1", f"w{number}", targetRef=reference(name=f"w{number}"), **spec)
        for number, spec in enumerate(every)
    ]
    return Cluster(agent_runtimes=runtimes)


def answer(cluster: Cluster, config: JSON, *, steps: int | None = None) -> Answer:
    """The answer to that config, after so many AgentRuntimes or all of them."""
    at = validate.Desk(cluster, layers(), context())
    asked = request(ours("AgentRuntimeConfig", "default", **config))
    if steps is None:
        return validate.validate(asked, at)
    running = validate.answer_in_steps(asked, at)
    next(running)
    for _ in range(steps):
        running.send(True)
    with pytest.raises(StopIteration) as end:
        running.send(False)
    found: Answer = end.value.value
    return found


def test_the_last_of_many_is_seen() -> None:
    """No fixed number hides who comes after it."""
    (warning,) = answer(crowd(1500, PORT), CLASH).warnings
    assert "this breaks the settings of 1 AgentRuntime: pods will be denied; first AgentRuntime team1/w1500" in warning


def test_a_count_that_was_cut_short_says_so() -> None:
    """Out of time: at least so many, of so many that were looked at."""
    (warning,) = answer(crowd(3, *[PORT] * 4), CLASH, steps=5).warnings
    assert "this breaks the settings of at least 2 AgentRuntimes (5 of 7 checked): pods will be denied" in warning


def test_values_that_lose_their_effect_are_counted_alike() -> None:
    """A lock that overrules: the same words, whole and cut."""
    lock = {"policy": {"locked": ["trace.sampling"]}}
    whole = answer(crowd(2, RATE, RATE), lock).warnings
    assert whole == ("LockViolation: values of 2 AgentRuntimes lose their effect, first AgentRuntime team1/w2",)
    cut = answer(crowd(2, RATE, RATE), lock, steps=3).warnings
    assert cut == (
        "LockViolation: values of at least 1 AgentRuntime (3 of 4 checked) lose their effect, "
        "first AgentRuntime team1/w2",
    )


def test_silence_is_not_mistaken_for_safety() -> None:
    """Nothing found among those that were looked at is said as what it is."""
    assert answer(crowd(5, PORT), CLASH, steps=2).warnings == (
        "NotChecked: 2 of 6 AgentRuntimes were checked in time, and this breaks none of them",
    )

"""Strict reads of a server: what it is asked, and what is no answer."""

import pytest

from kagenti import errors
from kagenti.kube import StrictReader
from tests.component.kube.scripted import Script, serving, silent, whole


async def test_every_word_of_the_caller_is_quoted() -> None:
    """Neither the namespace nor the name of an owner can change what is asked."""
    script = Script(whole(b'{"items":[]}'))
    async with serving(script) as client:
        await StrictReader(client).runtimes_for("x/../../pods?limit=1", "Pod", "a,metadata.name=b")
    assert script.paths[0].startswith(
        "/apis/kagenti.io/v1alpha1/namespaces/x%2F..%2F..%2Fpods%3Flimit=1/agentruntimes?"
    )
    assert script.queries[0] == {"fieldSelector": r"spec.targetRef.kind=Pod,spec.targetRef.name=a\,metadata.name\=b"}


async def test_what_is_no_list_is_no_answer() -> None:
    """A proxy's page does not mean that there are no AgentRuntimes."""
    async with serving(Script(whole(b"<html>"))) as client:
        with pytest.raises(errors.Unreachable, match="answered with what is no list"):
            await StrictReader(client).runtimes_for("n", "Deployment", "weather")


async def test_a_silent_server_is_unreachable() -> None:
    """No answer within the budget is an error, never an empty list."""
    async with serving(Script(silent())) as client:
        with pytest.raises(errors.Unreachable):
            await StrictReader(client, budget=0.05).runtimes_for("n", "Deployment", "weather")

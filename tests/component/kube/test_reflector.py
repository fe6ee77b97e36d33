"""The reflector against a scripted API server: what it keeps, where it resumes, and how it waits after failures."""

import asyncio

import pytest

from tests.component.kube.scripted import (
    Step,
    bookmark,
    config,
    error,
    event,
    page,
    reflecting,
    refuse,
    silent,
    stream,
    whole,
)

NO_STREAMED_LISTS = refuse(422)


async def test_a_streamed_list_becomes_visible_at_its_end() -> None:
    """Objects of a streamed list are seen once the list is complete, and the watch goes on in the same stream."""
    lines = (
        event("ADDED", config("a", "5")),
        bookmark("9", initial_end=True),
        event("ADDED", config("b", "10")),
        event("MODIFIED", config("a", "11")),
        event("DELETED", config("b", "12")),
    )
    async with reflecting(stream(*lines, hold=True)) as bench:
        await bench.until(lambda: bench.reflector.events == 4)
        assert bench.names == {"a"}
        assert [found.resource_version for found in bench.store.values()] == ["11"]
        assert bench.script.queries[0]["sendInitialEvents"] == "true"


@pytest.mark.parametrize(
    "lines",
    [
        (event("ADDED", config("a", "5")), event("DELETED", config("b", "7"))),
        (event("ADDED", config("a", "5")), bookmark("8")),
    ],
    ids=["after a deletion", "after a bookmark"],
)
async def test_a_streamed_list_that_was_cut_is_begun_again(lines: tuple[bytes, ...]) -> None:
    """A stream that ends before initial-events-end leaves no version behind, and nothing of it is seen."""
    complete = stream(event("ADDED", config("whole", "6")), bookmark("9", initial_end=True), hold=True)
    async with reflecting(stream(*lines), complete) as bench:
        await bench.until(lambda: bench.store.synced)
        assert bench.names == {"whole"}
        assert [query.get("sendInitialEvents") for query in bench.script.queries] == ["true", "true"]
        assert "resourceVersion" not in bench.script.queries[1]


async def test_a_cut_list_never_hides_what_is_already_there() -> None:
    """After a 410, a cut list leaves the earlier objects readable until a complete one replaces them."""
    first = stream(event("ADDED", config("old", "5")), bookmark("9", initial_end=True), error(410))
    cut = stream(event("ADDED", config("new", "11")), bookmark("12"))
    async with reflecting(first, cut) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.names == {"old"}


async def test_pages_are_read_to_the_last_and_watched_from_their_version() -> None:
    """Without streamed lists, pages follow their continue token, and the watch begins where the list stood."""
    pages = (page(config("a", "1"), version="7", more="next"), page(config("b", "2"), version="7"))
    async with reflecting(NO_STREAMED_LISTS, *pages) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.names == {"a", "b"}
        assert bench.script.queries[2]["continue"] == "next"
        assert bench.script.queries[3]["resourceVersion"] == "7"
        assert bench.waits == []


async def test_half_a_paged_list_is_never_seen() -> None:
    """A page that fails makes the list begin again; readers keep what they had."""
    async with reflecting(NO_STREAMED_LISTS, page(config("a", "1"), version="7", more="next"), refuse(500)) as bench:
        await bench.until(lambda: bench.script.done)
        assert not bench.store.synced
        assert bench.names == set()
        assert "continue" not in bench.script.queries[3]


async def test_a_watch_is_resumed_from_the_last_bookmark() -> None:
    """Bookmarks after the list move the version from which the next watch resumes."""
    async with reflecting(stream(bookmark("9", initial_end=True), bookmark("20"))) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.script.queries[1]["resourceVersion"] == "20"


async def test_410_lists_again_and_deletes_what_is_gone() -> None:
    """After 410 the full list's difference removes objects that were deleted meanwhile."""
    first = stream(event("ADDED", config("a", "5")), event("ADDED", config("b", "6")), bookmark("9", initial_end=True))
    again = stream(event("ADDED", config("b", "6")), bookmark("30", initial_end=True), hold=True)
    async with reflecting(first, refuse(410), again) as bench:
        await bench.until(lambda: bench.names == {"b"})
        assert bench.reflector.relists == 2


async def test_another_error_event_resumes_without_a_list() -> None:
    """An ERROR that is not 410 costs a wait, not a list."""
    async with reflecting(stream(bookmark("9", initial_end=True), error(500))) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.script.queries[1]["resourceVersion"] == "9"
        assert bench.reflector.relists == 1
        assert len(bench.waits) == 1


@pytest.mark.parametrize(
    "step",
    [
        silent(),
        silent(status=200),
        silent(status=500),
        stream(bookmark("9", initial_end=True), hold=True),
    ],
    ids=["no headers", "headers only", "no body of a refusal", "after the list"],
)
async def test_a_silent_server_is_left(step: Step) -> None:
    """Silence at any point of a watch, also before its headers, ends it and says so."""
    async with reflecting(step, silence=0.05) as bench:
        await bench.until(lambda: len(bench.script.queries) >= 2)
        assert bench.waits
        assert bench.reflector.problem == "the watch of agentruntimeconfigs was silent for 0.05 s; it is opened again"


async def test_a_watch_that_ends_at_once_backs_off() -> None:
    """A server that closes every watch right away is asked ever more slowly, up to 5 s."""
    steps = [stream(bookmark("9", initial_end=True)), *[stream()] * 9]
    async with reflecting(*steps) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 5])


async def test_410_after_every_list_backs_off() -> None:
    """A server whose history is too short is not listed in a tight loop: a completed list forgets no failure."""
    steps = [stream(event("ADDED", config("a", "5")), bookmark("9", initial_end=True), error(410))] * 4
    async with reflecting(*steps) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.waits == pytest.approx([0.2, 0.4, 0.8, 1.6])


async def test_a_watch_that_lasted_forgets_earlier_failures() -> None:
    """After a watch of 30 s the next failure waits for as long as the first did."""
    listed, ended = stream(bookmark("9", initial_end=True)), asyncio.Event()
    steps = [refuse(500), refuse(500), listed, stream(bookmark("10"), until=ended), refuse(500)]
    async with reflecting(*steps) as bench:
        await bench.until(lambda: bench.reflector.problem == "" and len(bench.script.queries) == 4)
        bench.now = 31.0
        ended.set()
        await bench.until(lambda: bench.script.done)
        assert bench.waits == pytest.approx([0.2, 0.4, 0.8, 0.2])


@pytest.mark.parametrize(("said", "waited"), [("7", 7.0), ("86400", 30.0), ("soon", 0.2), ("²", 0.2)])
async def test_retry_after_is_honoured_up_to_a_bound(said: str, waited: float) -> None:
    """429 waits for as long as the server asks, yet not for ever; other words mean nothing."""
    async with reflecting(refuse(429, headers={"Retry-After": said})) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.waits == pytest.approx([waited])


@pytest.mark.parametrize(
    "step",
    [whole(b"<html>maintenance</html>"), whole(b'{"metadata":{},"items":[{"metadata":{"name":3}}]}')],
    ids=["no JSON", "no object of the kind"],
)
async def test_a_list_that_cannot_be_read_is_tried_again(step: Step) -> None:
    """What a proxy says in the place of a list is reported and retried; the process lives on."""
    async with reflecting(NO_STREAMED_LISTS, step, page(config("a", "1"), version="7")) as bench:
        await bench.until(lambda: bench.store.synced)
        assert bench.waits == pytest.approx([0.2])


async def test_a_line_that_cannot_be_read_is_reported() -> None:
    """A watch line that is no event ends the watch, which is opened again from the last version."""
    async with reflecting(stream(bookmark("9", initial_end=True), b"<html>\n")) as bench:
        await bench.until(lambda: bench.script.done)
        assert bench.reflector.problem.startswith("the watch of agentruntimeconfigs sent a line that cannot be read")


async def test_a_list_without_a_version_is_refused() -> None:
    """A list from which nothing could be watched does not count as complete."""
    async with reflecting(stream(event("ADDED", config("a", "5")), bookmark("", initial_end=True))) as bench:
        await bench.until(lambda: bench.script.done)
        assert not bench.store.synced
        assert "has no resourceVersion" in bench.reflector.problem


async def test_it_follows_from_the_list_on_until_the_watch_breaks() -> None:
    """Then again when the next watch is open; nobody is told that it follows while it backs off."""
    ended = asyncio.Event()
    steps = [stream(bookmark("9", initial_end=True), until=ended), stream(hold=True)]
    async with reflecting(*steps) as bench:
        assert not bench.reflector.following
        await bench.until(lambda: bench.reflector.following)
        bench.hold_sleeps()
        ended.set()
        await bench.until(lambda: bench.waits)
        assert not bench.reflector.following
        await asyncio.wait_for(bench.reflector.follow(), 10)
        assert bench.reflector.following


async def test_whoever_waits_cuts_every_pause_to_the_shortest_one() -> None:
    """After nine failures too; without anybody the pauses are as long as ever, and a server's Retry-After stays."""
    steps = [refuse(500)] * 3
    async with reflecting(
        *steps, refuse(429, headers={"Retry-After": "7"}), stream(bookmark("9", initial_end=True), hold=True)
    ) as bench:
        bench.hold_sleeps(longer_than=0.2)
        follow = asyncio.create_task(bench.reflector.follow())
        await bench.until(lambda: bench.reflector.problem == "")
        await follow
        assert bench.waits == pytest.approx([0.2, 0.4, 0.2, 0.8, 0.2, 7.0])


async def test_afresh_lists_again_after_a_failure_and_resumes_after_an_end() -> None:
    """What was missed in between comes with the list, and not at some time after a watch is open."""
    ended = asyncio.Event()
    steps = [stream(bookmark("9", initial_end=True), until=ended), stream(bookmark("10"), error(500))]
    async with reflecting(*steps, afresh=True) as bench:
        await bench.until(lambda: bench.reflector.following)
        bench.now = 31.0
        ended.set()
        await bench.until(lambda: bench.script.done)
        assert bench.script.queries[1]["resourceVersion"] == "9"
        assert "resourceVersion" not in bench.script.queries[2]
        assert bench.script.queries[2]["sendInitialEvents"] == "true"

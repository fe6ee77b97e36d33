"""Strict reads: never an answer from before the caller came, never longer than the budget."""

import asyncio
import gc

import orjson
import pytest

from kagenti import errors
from kagenti.kube import StoredObject, StrictReader


class Server:
    """Answers each LIST when told, with what existed at the moment of the request."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.gates: list[asyncio.Event] = []

    async def get(self, path: str, *, params: dict[str, str], timeout: float) -> bytes:
        seen, gate = list(self.names), asyncio.Event()
        self.gates.append(gate)
        await gate.wait()
        reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
        items = [{"metadata": {"name": name, "namespace": "n"}, "spec": {"targetRef": reference}} for name in seen]
        return orjson.dumps({"items": items})

    async def asked(self, number: int) -> None:
        """Waits until so many LISTs have come in."""
        async with asyncio.timeout(10):
            while len(self.gates) < number:
                await asyncio.sleep(0)


def _read(reader: StrictReader) -> asyncio.Task[tuple[StoredObject, ...]]:
    return asyncio.create_task(reader.runtimes_for("n", "Deployment", "weather"))


async def test_a_list_in_flight_is_never_joined() -> None:
    """Who comes while a LIST is in flight waits for the next one, and shares that with others who wait."""
    server = Server()
    reader = StrictReader(server, budget=10)
    first = _read(reader)
    await server.asked(1)
    server.names.append("applied-meanwhile")
    later = [_read(reader) for _ in range(3)]
    await asyncio.sleep(0)
    server.gates[0].set()
    assert await first == ()
    await server.asked(2)
    server.gates[1].set()
    for found in await asyncio.gather(*later):
        assert [item.name for item in found] == ["applied-meanwhile"]
    assert reader.reads == 2


async def test_where_the_kind_is_gone_nothing_targets_anything() -> None:
    """Deleting the CRDs leaves no namespace in which pods cannot be made; whoever cannot be asked is no such answer."""

    class Answers:
        def __init__(self, problem: errors.ClusterError) -> None:
            self.problem = problem

        async def get(self, path: str, *, params: dict[str, str], timeout: float) -> bytes:
            raise self.problem

    assert await StrictReader(Answers(errors.NotFound("404"))).runtimes_for("n", "Deployment", "weather") == ()
    with pytest.raises(errors.Forbidden):
        await StrictReader(Answers(errors.Forbidden("403"))).runtimes_for("n", "Deployment", "weather")


async def test_other_targets_do_not_wait() -> None:
    """Reads for different targets run side by side."""
    server = Server()
    reader = StrictReader(server, budget=10)
    tasks = [_read(reader), asyncio.create_task(reader.runtimes_for("n", "Deployment", "other"))]
    await server.asked(2)
    for gate in server.gates:
        gate.set()
    await asyncio.gather(*tasks)


async def test_the_budget_counts_from_the_callers_arrival() -> None:
    """Whoever waits behind a LIST in flight gives up after one budget, not after two."""
    server = Server()
    reader = StrictReader(server, budget=0.2)
    first = _read(reader)
    await server.asked(1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(errors.Unreachable, match=r"for Deployment n/weather were not listed within 0\.2 s; try again"):
        await reader.runtimes_for("n", "Deployment", "weather")
    assert loop.time() - began < 0.35
    with pytest.raises(errors.Unreachable):
        await first


async def test_a_failure_that_nobody_waits_for_is_not_shouted(caplog: pytest.LogCaptureFixture) -> None:
    """The caller gave up before the server's refusal came: nothing is logged as forgotten."""
    failed = asyncio.Event()

    class Late:
        async def get(self, path: str, *, params: dict[str, str], timeout: float) -> bytes:
            try:
                await asyncio.sleep(0.05)
                raise errors.Unreachable("late")
            finally:
                failed.set()

    with pytest.raises(errors.Unreachable, match="not listed"):
        await StrictReader(Late(), budget=0.01).runtimes_for("n", "Deployment", "weather")
    async with asyncio.timeout(10):
        await failed.wait()
    await asyncio.sleep(0)
    gc.collect()
    assert caplog.records == []

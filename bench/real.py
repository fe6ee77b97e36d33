"""Real Envoys of injected pods: from a change to another answer, to the acknowledgement, and back after an outage.

Each pod was injected by the real webhook and runs as its kubelet would run it (``tests/e2e/pod_runner``): a network
namespace with its own interception, its own Envoy, and an app behind it.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.access import Plane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds_process import HOST, Xds
from tests.oidc import Oidc

from bench.bulk import send
from bench.child import Child
from bench.fleet import change, make_namespaces, make_owners, pod_of, run
from bench.replicas import Acknowledged, propagated
from bench.streams import marker
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # commands and answers
AUDIENCE = "https://agents.example"
_EVERY = 0.05  # seconds between two updates under load: each is pushed on its own
_AT_ONCE = 4  # pods that are started at once
_PATIENCE = 60.0


@dataclass
class Changed:
    """Seconds from the write until each Envoy's answer was another, and until the last one's; the server's own histogram.

    ``answers`` counts what was answered meanwhile, by status.
    """

    envoys: int
    behaviour: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)
    acknowledged: Acknowledged = field(default_factory=lambda: Acknowledged({}))
    answers: dict[str, int] = field(default_factory=dict)


class Asking:
    """The process that asks the Envoys; a context manager."""

    def __init__(self, pods: list[PodRunner], *, connections: int = 1) -> None:
        self._child = Child("bench.asking")
        self._child.tell([[pod.address, 8081] for pod in pods for _ in range(connections)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._child.__exit__()

    def begin(self, token: str, status: int = 0, *, seconds: float = _PATIENCE) -> None:
        """Begins to ask all until they answer with that status, or all the time; returns once it asks."""
        self._child.ask({"token": token, "status": status, "seconds": seconds})

    def wait(self) -> tuple[list[float], dict[str, int]]:
        """Returns when each changed, and how often each status was answered; raises RuntimeError where one never did."""
        found = self._child.hear()
        if not all(found["changed"]):
            missing = found["changed"].count(0.0)
            raise RuntimeError(f"{missing} Envoys never answered as they should: {found['answers']}")
        return found["changed"], found["answers"]


@contextmanager
def envoys(plane: Plane, xds: Xds, count: int) -> Iterator[list[PodRunner]]:
    """Runs ``count`` injected pods of one workload of their own, all started."""
    namespace = f"envoys-{count}"
    make_namespaces(plane, namespace)
    (owner,) = make_owners(plane, [(namespace, "weather")])
    label = {wellknown.INJECT_LABEL: "enabled"}
    pods = run(plane, send(plane, [pod_of(owner, number, labels=label) for number in range(count)]))
    with ExitStack() as stack, ThreadPoolExecutor(_AT_ONCE) as threads:
        runners = [PodRunner(pod, plane, names={HOST: xds.address}) for pod in pods]
        for runner in threads.map(_started, runners):
            stack.enter_context(_stopping(runner))
        wait_until(
            lambda: propagated([xds]) == count, _PATIENCE, lambda: f"{propagated([xds])} of {count} have a stream"
        )
        yield runners


def _started(runner: PodRunner) -> PodRunner:
    runner.__enter__()
    try:
        runner.intercept()
        runner.start_app(8081)
        runner.start_envoy()
        runner.wait_started(_PATIENCE)
    except BaseException:
        runner.__exit__()
        raise
    return runner


@contextmanager
def _stopping(runner: PodRunner) -> Iterator[None]:
    try:
        yield
    finally:
        runner.__exit__()


def acknowledgements(plane: Plane, xds: Xds, count: int, *, rounds: int) -> Changed:
    """Asks callers for another scope ``rounds`` times while nobody calls: what the server says of itself."""
    found, api = Changed(count), ApiClient(plane)
    before = Acknowledged.of(xds)
    for turn in range(1, rounds + 1):
        _change(api, {"audience": AUDIENCE, "requiredScopes": [marker()]})
        wait_until(lambda: Acknowledged.of(xds).since(before).count >= turn * count, _PATIENCE, lambda: "no answer")  # noqa: B023  # within the turn
    found.acknowledged = Acknowledged.of(xds).since(before)
    return found


def behaviour(plane: Plane, pods: list[PodRunner], idp: Oidc, *, rounds: int) -> Changed:
    """Asks callers for another scope ``rounds`` times: a token that has it is refused before and accepted after."""
    found, api = Changed(len(pods)), ApiClient(plane)
    with Asking(pods) as asking:
        for _ in range(rounds):
            scope = marker()
            asking.begin(idp.token(aud=AUDIENCE, scope=scope), 200)
            begun = time.monotonic()
            _change(api, {"requiredScopes": [scope]})
            moments, _ = asking.wait()
            found.behaviour += [moment - begun for moment in moments]
            found.last.append(max(moments) - begun)
    return found


def under_load(plane: Plane, pods: list[PodRunner], idp: Oidc, *, updates: int) -> Changed:
    """Asks for one scope after another of a token that has them all, while eight connections call without a pause."""
    found, api, scopes = Changed(len(pods)), ApiClient(plane), [marker() for _ in range(updates)]
    token = idp.token(aud=AUDIENCE, scope=" ".join(scopes))
    _change(api, {"requiredScopes": scopes[:1]})
    with Asking(pods[:1], connections=8) as asking:
        asking.begin(token, 200)  # all connections are open, and the first change has come
        asking.wait()
        asking.begin(token, seconds=updates * _EVERY)
        begun = time.monotonic()
        for turn, scope in enumerate(scopes):
            time.sleep(max(0.0, begun + turn * _EVERY - time.monotonic()))
            _change(api, {"requiredScopes": [scope]})
        found.answers = asking.wait()[1]
    return found


def _change(api: ApiClient, validation: JSON) -> None:
    request = change(validation)
    answer = api.request(request.method, request.path, request.body)
    if not answer.ok:
        raise RuntimeError(answer.message)

"""Several replicas, many workloads, and nothing to do: who writes, how soon another takes over, what an idle one costs."""

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.admission import manifests
from tests.e2e.api_client import ApiClient
from tests.e2e.audit import lines
from tests.e2e.controller.conftest import Statuses
from tests.e2e.installed import RELEASE_NAMESPACE, ROOT, Installed
from tests.e2e.operator_process import Operator
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object or an audit event

ENABLED = {"kagenti.io/inject": "enabled"}
FLEET = 500
SOON = 20  # seconds: two when the machine is idle, and the other half of the suite runs beside
STILL, QUARTER = 60, 15  # seconds: of silence, and of one request that listens for it
KINDS = (
    "agentruntimes",
    "agentruntimeconfigs",
    "agentruntimeclusterconfigs",
    "agentcards",
    "namespaces",
    "pods",
    "deployments",
)


def events(log: Path, *, since: int) -> Iterator[JSON]:
    """The audit events of operators from a byte of the log on."""
    for line in lines(log, since=since):
        if b':kagenti-operator"' in line:  # a look at the text first: decoding is dear
            event = json.loads(line)
            if event["user"]["username"].endswith(":kagenti-operator"):
                yield event


def identity(event: JSON) -> str:
    """Which replica asked: its user agent ends with its name."""
    found = re.search(r"\((.*)\)$", event.get("userAgent") or "")
    return found[1] if found else ""


def writers(log: Path, *, since: int) -> set[str]:
    """The replicas that wrote status."""
    return {
        identity(event)
        for event in events(log, since=since)
        if (event.get("objectRef") or {}).get("subresource") == "status" and event["verb"] == "patch"
    }


@pytest.fixture
def replicas(cluster: ControlPlane, install: Callable[..., Installed]) -> Iterator[Callable[..., Operator]]:
    """Makes replicas of the operator; ended afterwards."""
    made: list[Operator] = []

    def make(name: str, **options: int) -> Operator:
        made.append(Operator(install(), name, **{"lease_seconds": 8, **options}))
        return made[-1]

    yield make
    for operator in made:
        operator.stop()


def agent(api: ApiClient, namespace: str, name: str) -> None:
    """A labelled Deployment and its AgentRuntime."""
    for found in (
        manifests.workload("Deployment", namespace, name, labels=ENABLED),
        manifests.runtime(namespace, name, kind="Deployment", target=name),
    ):
        answer = api.create(found)
        assert answer.ok, answer.message


def test_when_the_leader_is_killed_the_other_finishes_within_fifteen_seconds(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses,
    replicas: Callable[..., Operator],
) -> None:  # fmt: skip
    """And as long as both live, one of them writes."""
    namespace = team()
    first, second = replicas("kagenti-operator-a").start(), replicas("kagenti-operator-b").start(leads=False)
    since = cluster.audit_log.stat().st_size
    for name in ("one", "two"):
        agent(api, namespace, name)
        statuses.until(namespace, name, lambda found: (found.get("pods") or {}).get("current") == 1)
    assert writers(cluster.audit_log, since=since) == {"kagenti-operator-a"}
    assert first.leads
    assert not second.leads
    first.suspend()  # else it could have finished before it is killed, and nobody would take over
    assert api.create(manifests.config(namespace, trace={"genai": {"enabled": True}})).ok
    first.kill()
    killed = time.monotonic()
    for name in ("one", "two"):
        statuses.until(namespace, name, lambda found: found["pods"]["stale"] == 1, within=15)
    print(f"taken over and finished {time.monotonic() - killed:.1f} s after the kill")
    wait_until(lambda: second.leads, 10, lambda: "it writes and does not lead")
    holder = cluster.kubectl(
        "get", "lease", "kagenti-operator", "-n", RELEASE_NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}"
    )
    assert holder == "kagenti-operator-b"


def test_a_leader_that_stops_gives_the_lease_back(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses,
    replicas: Callable[..., Operator],
) -> None:  # fmt: skip
    """Nobody waits for its end, which is at least three quarters of its length away."""
    first = replicas("kagenti-operator-a", lease_seconds=16).start()
    second = replicas("kagenti-operator-b", lease_seconds=16).start(leads=False)
    begun = time.monotonic()
    first.stop()
    wait_until(lambda: second.leads, 12 - (time.monotonic() - begun), lambda: "nobody leads")
    print(f"handed over in {time.monotonic() - begun:.1f} s")


def test_a_cluster_without_our_kinds_is_waited_for(cluster: ControlPlane, replicas: Callable[..., Operator]) -> None:
    """Kopf looks for them once, when it starts: until then the replica stands by and says what is missing."""
    operator = replicas("kagenti-operator-early")
    cluster.kubectl("delete", "crd", "agentcards.kagenti.io", "--timeout=60s")
    try:
        operator.start(leads=False)
        wait_until(lambda: "agentcards.kagenti.io" in operator.log.read_text(), 30, operator.log.read_text)
        assert not operator.leads
    finally:
        cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "generated" / "crds" / "agentcards.kagenti.io.yaml"))
    wait_until(lambda: operator.leads, 30, operator.log.read_text)


def test_one_watch_for_each_kind(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], statuses: Statuses,
    replicas: Callable[..., Operator],
) -> None:  # fmt: skip
    """Counted at the API server, for the whole life of a process; it writes statuses, events, its Lease, and who owns our webhooks."""
    namespace, name = team(), "kagenti-operator-counted"
    since = cluster.audit_log.stat().st_size
    operator = replicas(name).start()
    agent(api, namespace, "one")
    statuses.until(namespace, "one", lambda found: (found.get("pods") or {}).get("current") == 1)
    operator.stop()

    def watches() -> Counter[str]:
        """Those that were begun: an API server that makes a kind's storage anew turns a watch away, to come again."""
        mine = [event for event in events(cluster.audit_log, since=since) if identity(event) == name]
        begun = [
            event
            for event in mine
            if event["verb"] == "watch" and (event.get("responseStatus") or {}).get("code") == HTTPStatus.OK
        ]
        return Counter(event["objectRef"]["resource"] for event in begun)

    wait_until(lambda: len(watches()) == len(KINDS), 30, lambda: str(watches()))  # logged when they end
    assert watches() == dict.fromkeys(KINDS, 1)
    written = {
        (event["verb"], event["objectRef"]["resource"], event["objectRef"].get("subresource", ""))
        for event in events(cluster.audit_log, since=since)
        if event["verb"] not in ("get", "list", "watch")
    }
    allowed = {("patch", kind, "status") for kind in KINDS} | {("create", "events", "")}
    owned = {("patch", f"{kind}webhookconfigurations", "") for kind in ("mutating", "validating")}  # who owns our own
    assert written <= allowed | owned | {("create", "leases", ""), ("update", "leases", "")}


def test_a_change_for_five_hundred_workloads_and_then_silence(
    api: ApiClient, cluster: ControlPlane, team: Callable[..., str], replicas: Callable[..., Operator]
) -> None:
    """All statuses right soon after one change of the namespace's config, in a few seconds; then a minute of nothing written."""
    namespace = team()
    operator = replicas("kagenti-operator-fleet").start()
    for number in range(FLEET):
        agent(api, namespace, f"agent-{number}")

    def right(state: str) -> int:
        found = api.items("AgentRuntime", namespace, resourceVersion="0")
        return sum(((one.get("status") or {}).get("pods") or {}).get(state) == 1 for one in found)

    wait_until(lambda: right("current") == FLEET, 240, lambda: f"{right('current')} are current", every=0.5)
    cpu = operator.metric("process_cpu_seconds_total")
    written = 'kagenti_operator_status_writes_total{what="applied"}'
    target = operator.metric(written) + FLEET
    begun = time.monotonic()
    assert api.create(manifests.config(namespace, trace={"genai": {"enabled": True}})).ok
    # Asked of the operator, not of the API server: five hundred statuses at every look would be most of its load.
    wait_until(
        lambda: operator.metric(written) >= target, SOON, lambda: f"{target - operator.metric(written):.0f} missing"
    )
    # A status may have been written more than once: only the statuses themselves say that all of them are right.
    wait_until(lambda: right("stale") == FLEET, SOON, lambda: f"{right('stale')} are stale", every=0.1)
    taken = time.monotonic() - begun
    cpu = operator.metric("process_cpu_seconds_total") - cpu
    print(f"{FLEET} statuses right after {taken:.2f} s, {cpu:.2f} s of CPU")
    wait_until(lambda: operator.metric("kagenti_operator_queue") == 0, 30, lambda: "the queue does not empty")
    before = settled(api, namespace)
    cpu = operator.metric("process_cpu_seconds_total")
    path = f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}/agentruntimes"
    version = api.request("GET", path, limit="1").body["metadata"]["resourceVersion"]
    for _ in range(STILL // QUARTER):
        told = api.request("GET", path, watch="1", timeoutSeconds=str(QUARTER), resourceVersion=version)
        assert told.body == {"message": ""}, "something was written"
    idle = operator.metric("process_cpu_seconds_total") - cpu
    print(f"{idle:.2f} s of CPU in {STILL} s of silence")
    assert versions(api, namespace) == before
    assert idle < 0.1 * STILL


def settled(api: ApiClient, namespace: str) -> dict[str, str]:
    """The versions once they stay: what has left the queue may still be on its way to the API server."""
    seen: list[dict[str, str]] = []

    def stay() -> bool:
        seen.append(versions(api, namespace))
        return seen[-1] == seen[-2] if len(seen) > 1 else False

    wait_until(stay, 30, lambda: "objects are written all the time", every=1)
    return seen[-1]


def versions(api: ApiClient, namespace: str) -> dict[str, str]:
    """The resourceVersion of every object of ours there."""
    path = f"/apis/kagenti.io/v1alpha1/namespaces/{namespace}"
    items = [
        one
        for plural in ("agentruntimes", "agentruntimeconfigs")
        for one in api.request("GET", f"{path}/{plural}").body["items"]
    ]
    return {f"{one['kind']} {one['metadata']['name']}": one["metadata"]["resourceVersion"] for one in items}

"""A pod must not slip through: apply order, a slow watch, and the API calls that spec 03 promises, counted at the server."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.admission.effects import admitted, denied
from tests.e2e.admission.manifests import config, pod, runtime, workload
from tests.e2e.admission.observed import bare, injected
from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.audit import lines
from tests.e2e.delaying_proxy import DelayingProxy
from tests.e2e.installed import Installed, Options
from tests.e2e.plane.control_plane import NODES, ControlPlane
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
WEBHOOK_USER = "system:serviceaccount:kagenti-system:kagenti-webhook"
ROUNDS, PAIRS = 20, 10


def calls(cluster: ControlPlane, since: int, namespace: str) -> list[str]:
    """Returns ``verb resource`` of the webhook's requests after that offset of the audit log, watches left out.

    Left out, too, are its looks at its own registration, by the clock and of webhooks that wait (``install``) as well, and
    what it asks about other namespaces: those of the tests before are on their way out.
    """
    found = []
    for line in lines(cluster.audit_log, since=since):
        if WEBHOOK_USER.encode() not in line:  # a look at the text first: decoding is dear
            continue
        event = orjson.loads(line)
        reference = event.get("objectRef") or {}
        resource = reference.get("resource", event["requestURI"])
        by_itself = event["verb"] == "watch" or resource == "mutatingwebhookconfigurations"
        elsewhere = reference.get("namespace", "") not in ("", namespace)
        if event["user"]["username"] == WEBHOOK_USER and not by_itself and not elsewhere:
            found.append(f"{event['verb']} {resource}")
    return found


def mark(cluster: ControlPlane) -> int:
    """Returns the present end of the audit log."""
    return cluster.audit_log.stat().st_size


def known(api: ApiClient, cluster: ControlPlane, namespace: str) -> None:
    """Waits until the webhook's watch has shown the namespace; until then each pod costs one GET of it besides."""

    def seen() -> bool:
        start = mark(cluster)
        assert api.create(pod(namespace, "first"), dry_run=True).ok
        return "get namespaces" not in calls(cluster, start, namespace)

    wait_until(seen, 20, lambda: "the webhook's watch never shows the namespace")


def test_one_apply_runtime_first_never_gives_a_bare_pod(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str], cluster: ControlPlane
) -> None:
    """200 pairs of AgentRuntime and clean Deployment, each pair in one kubectl apply: every pod is injected."""
    install(mode="both")
    namespace = team()
    for batch in range(ROUNDS):
        items: list[JSON] = []
        for number in range(PAIRS):
            name = f"agent-{batch}-{number}"
            items += [runtime(namespace, name, kind="Deployment", target=name), workload("Deployment", namespace, name)]
        text = orjson.dumps({"apiVersion": "v1", "kind": "List", "items": items}).decode()
        cluster.kubectl("apply", "-f", "-", stdin=text)
    wait_until(lambda: api.count("Pod", namespace) >= ROUNDS * PAIRS, 60, lambda: "pods missing")
    assert [found["metadata"]["name"] for found in api.items("Pod", namespace) if not injected(found)] == []


@pytest.fixture
def slow(cluster: ControlPlane, tmp_path: Path) -> Iterator[Callable[..., tuple[Installed, DelayingProxy]]]:
    """An installation whose webhook watches one of our kinds through a proxy that can hold events back."""
    made: list[tuple[Installed, DelayingProxy]] = []

    def give(kind: str = "agentruntimes", **options: str) -> tuple[Installed, DelayingProxy]:
        proxy = DelayingProxy(cluster, hold_path=f"/apis/kagenti.io/v1alpha1/{kind}")
        proxy.start()
        installation = Installed(cluster, Options(**options), folder=tmp_path, through=proxy.kubeconfig)
        installation.start()
        made.append((installation, proxy))
        return installation, proxy

    yield give
    for installation, proxy in made:
        proxy.release()
        installation.stop()
        proxy.stop()


def test_a_delayed_watch_lets_nothing_through_in_strict(
    slow: Callable[..., tuple[Installed, DelayingProxy]], api: ApiClient, team: Callable[..., str]
) -> None:
    """While the webhook's watch is held back, 200 pods created right after their AgentRuntime are all injected."""
    _, proxy = slow(mode="both", consistency="strict")
    namespace = team()
    proxy.hold()
    for number in range(ROUNDS * PAIRS):
        name = f"agent-{number}"
        assert api.create(runtime(namespace, name, kind="Pod", target=name)).ok
        answer = api.create(pod(namespace, name), dry_run=True)
        assert answer.ok, answer.message
        assert injected(answer.body), f"{name} is bare"


def test_a_delayed_watch_shows_what_cached_trades_away(
    slow: Callable[..., tuple[Installed, DelayingProxy]], api: ApiClient, team: Callable[..., str]
) -> None:
    """The same in cached mode gives a bare pod until the watch delivers: the check above can fail."""
    _, proxy = slow(mode="both", consistency="cached")
    namespace = team()
    proxy.hold()
    assert api.create(runtime(namespace, "late", kind="Pod", target="late")).ok
    assert bare(api.create(pod(namespace, "late"), dry_run=True).body)
    proxy.release()
    wait_until(lambda: injected(api.create(pod(namespace, "late"), dry_run=True).body), 20, lambda: "still bare")


def test_overrides_are_fresh_under_the_label_entry_too(
    slow: Callable[..., tuple[Installed, DelayingProxy]], api: ApiClient, team: Callable[..., str]
) -> None:
    """A labelled pod created right after its AgentRuntime carries the AgentRuntime's settings, watch or no watch."""
    _, proxy = slow(mode="both", consistency="strict")
    namespace = team()
    proxy.hold()
    settings = {"trace": {"sampling": {"rate": 0.875}}}
    assert api.create(runtime(namespace, "weather", kind="Pod", target="weather", **settings)).ok
    answer = api.create(pod(namespace, "weather", label="enabled"), dry_run=True)
    assert sampling(answer) == "0.875"


def sampling(answer: Answer) -> str | None:
    """The sampling rate with which a pod came out."""
    environment = {entry["name"]: entry.get("value") for entry in answer.body["spec"]["containers"][0].get("env", ())}
    return environment.get("OTEL_TRACES_SAMPLER_ARG")


def test_no_pod_gets_the_settings_of_before_an_outage(
    slow: Callable[..., tuple[Installed, DelayingProxy]], api: ApiClient, team: Callable[..., str]
) -> None:
    """While the webhook cannot follow the configs pods are refused; the first one afterwards has what was set meanwhile."""
    _, proxy = slow("agentruntimeconfigs", mode="both", consistency="strict")
    namespace = team()
    assert api.create(config(namespace, trace={"sampling": {"rate": 0.5}})).ok
    weather = pod(namespace, "weather", label="enabled")
    wait_until(lambda: sampling(api.create(weather, dry_run=True)) == "0.5", 10, lambda: "the config is not here")
    proxy.cut()
    assert api.merge("AgentRuntimeConfig", namespace, "default", {"spec": {"trace": {"sampling": {"rate": 0.875}}}}).ok
    denied(api, weather, "the watch of agentruntimeconfigs is lost")
    proxy.release()
    # Whoever comes before the webhook has caught up is refused after a second, which on a busy machine is too short for it.
    assert sampling(admitted(api, weather)) == "0.875"


def test_an_index_hit_costs_no_call(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str], cluster: ControlPlane
) -> None:
    """Once the watch has delivered, 20 pods by AgentRuntime cost no request to the API server."""
    install(mode="both", consistency="strict")
    namespace = team()
    known(api, cluster, namespace)
    assert api.create(runtime(namespace, "weather", kind="Pod", target="weather")).ok

    def silent() -> bool:
        start = mark(cluster)
        return api.create(pod(namespace, "weather"), dry_run=True).ok and calls(cluster, start, namespace) == []

    wait_until(silent, 20, lambda: "every pod still costs a call")
    start = mark(cluster)
    assert all(injected(api.create(pod(namespace, "weather"), dry_run=True).body) for _ in range(20))
    assert calls(cluster, start, namespace) == []


@pytest.mark.parametrize(
    ("consistency", "label", "expected", "reason"),
    [
        ("strict", None, ["list agentruntimes"], "a miss in strict is one LIST"),
        ("strict", "enabled", ["list agentruntimes"], "so it is under the label entry"),
        ("cached", None, [], "a miss in cached asks nobody"),
        ("cached", "enabled", [], "nor under the label entry"),
    ],
)
def test_a_miss_costs_what_the_consistency_says(
    consistency: str,
    label: str | None,
    expected: list[str],
    reason: str,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster: ControlPlane,
) -> None:
    """One standalone pod without AgentRuntime: one LIST in strict, none in cached."""
    install(mode="both", consistency=consistency)
    namespace = team()
    known(api, cluster, namespace)
    start = mark(cluster)
    assert api.create(pod(namespace, "weather", label=label), dry_run=True).ok
    assert calls(cluster, start, namespace) == expected, reason


def test_without_agentruntime_each_pod_costs_at_most_one_list(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str], cluster: ControlPlane
) -> None:
    """Nothing will ever be in the index: five pods of one Deployment cost one GET and at most five LISTs, ever."""
    install(mode="both", consistency="strict")
    namespace = team()
    known(api, cluster, namespace)
    start = mark(cluster)
    manifest = workload("Deployment", namespace, "weather")
    manifest["spec"]["replicas"] = 5
    assert api.create(manifest).ok
    wait_until(lambda: len(api.items("Pod", namespace)) == 5, 30, lambda: "pods missing")  # replicas
    made = calls(cluster, start, namespace)
    assert made.count("get replicasets") == 1
    assert 1 <= made.count("list agentruntimes") <= 5  # pods at the same time may share one that is not sent yet
    assert set(made) == {"get replicasets", "list agentruntimes"}


def test_an_exemption_by_owner_costs_one_get_of_the_owner(
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    cluster: ControlPlane,
    cluster_config: Callable[[JSON], None],
) -> None:
    """The pods of an exempt DaemonSet: it is read once to prove that it is the owner, and they stay bare."""
    install(mode="both", consistency="strict")
    namespace = team()
    known(api, cluster, namespace)
    owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "collector"}
    cluster_config({"policy": {"namespaces": [{"names": [namespace], "injection": "Mandatory", "exempt": [owner]}]}})
    wait_until(lambda: injected(api.create(pod(namespace, "other"), dry_run=True).body), 20, lambda: "never Mandatory")
    made_up = pod(namespace, "forged")
    made_up["metadata"]["ownerReferences"] = [{**owner, "uid": "made-up", "controller": True}]
    assert injected(api.create(made_up, dry_run=True).body)
    start = mark(cluster)
    assert api.create(workload("DaemonSet", namespace, "collector")).ok
    wait_until(lambda: len(api.items("Pod", namespace)) == len(NODES), 30, lambda: "pods missing")
    assert all(bare(item) for item in api.items("Pod", namespace))
    made = calls(cluster, start, namespace)
    assert made.count("get daemonsets") == 1
    assert set(made) <= {"get daemonsets", "list agentruntimes"}


def test_a_new_replicaset_costs_one_get_for_all_its_pods(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str], cluster: ControlPlane
) -> None:
    """Five pods of one Deployment: one GET of the ReplicaSet in all, and at most one LIST each until the watch delivers."""
    install(mode="both", consistency="strict")
    namespace = team()
    known(api, cluster, namespace)
    start = mark(cluster)
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather")).ok
    asked = calls(cluster, start, namespace)
    assert asked == ["get deployments"], "the answer to a new AgentRuntime says whether its target exists"
    start = mark(cluster)
    manifest = workload("Deployment", namespace, "weather")
    manifest["spec"]["replicas"] = 5
    assert api.create(manifest).ok
    wait_until(lambda: len(api.items("Pod", namespace)) == 5, 30, lambda: "pods missing")  # replicas
    made = calls(cluster, start, namespace)
    assert made.count("get replicasets") == 1
    assert made.count("list agentruntimes") <= 5  # replicas
    assert set(made) <= {"get replicasets", "list agentruntimes"}
    assert all(injected(found) for found in api.items("Pod", namespace))

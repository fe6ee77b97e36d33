"""What a developer is told at kubectl apply: the advice webhook, and the answers for our own kinds."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.admission.manifests import config, pod, runtime, workload
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
ENABLED = {"kagenti.io/inject": "enabled"}


@pytest.mark.parametrize(
    ("reason", "enrolled", "marks", "says"),
    [
        (
            "the label is in the wrong place",
            True,
            {"own": ENABLED},
            "label kagenti.io/inject is on the Deployment's own metadata, where its pods do not see it; "
            "put it on the pod template: spec.template.metadata.labels",
        ),
        (
            "the type label is missing",
            True,
            {"labels": ENABLED},
            "label kagenti.io/type is missing on the pod template; add agent or tool, so that lists find it",
        ),
        (
            "the type label is odd",
            True,
            {"labels": {**ENABLED, "kagenti.io/type": "robot"}},
            'label kagenti.io/type is "robot", want agent or tool; selections by type miss it',
        ),
    ],
)
def test_a_workload_gets_advice(
    reason: str,
    enrolled: bool,
    marks: dict[str, dict[str, str]],
    says: str,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
) -> None:
    """The API server hands our advice to the client, and the workload is stored as it was sent."""
    install(mode="both")
    manifest = workload("Deployment", team(enrolled=enrolled), "weather", **marks)
    # Nothing is foretold of a namespace that the webhook's watch has not shown yet.
    wait_until(lambda: says in api.create(manifest, dry_run=True).warnings, 10, lambda: f"never said that {reason}")
    answer = api.create(manifest)
    assert answer.ok, answer.message
    assert says in answer.warnings
    assert "initContainers" not in answer.body["spec"]["template"]["spec"]


def test_an_agentruntime_says_how_many_pods_predate_it(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """Deployment first, AgentRuntime after it: the answer says how many running pods were there before."""
    install(mode="both")
    namespace = team()
    manifest = workload("Deployment", namespace, "weather")
    manifest["spec"]["replicas"] = 3
    assert api.create(manifest).ok

    def running() -> bool:
        return (
            sum(found.get("status", {}).get("phase") == "Running" for found in api.items("Pod", namespace)) == 3
        )  # replicas

    wait_until(running, 30, lambda: "pods not running")
    answer = api.create(runtime(namespace, "weather", kind="Deployment", target="weather"))
    assert answer.ok, answer.message
    assert (
        f"AgentRuntime {namespace}/weather targets Deployment {namespace}/weather; "
        "3 running pods predate this without its settings: they are evicted one by one (rollout.bare: Evict)"
    ) in answer.warnings


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"])
def test_an_agentruntime_finds_its_target_of_any_kind(
    kind: str, install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The answer speaks of the target that exists, whatever built-in kind it has."""
    install(mode="both")
    namespace = team()
    manifest = pod(namespace, "weather") if kind == "Pod" else workload(kind, namespace, "weather")
    assert api.create(manifest).ok
    answer = api.create(runtime(namespace, "weather", kind=kind, target="weather"))
    assert answer.ok, answer.message
    found = f"AgentRuntime {namespace}/weather targets {kind} {namespace}/weather; "
    assert any(warning.startswith(found) and "unknown" not in warning for warning in answer.warnings), answer.warnings


def test_an_agentruntime_without_target_is_accepted_and_said(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A target that does not exist yet is never an error."""
    install(mode="both")
    namespace = team()
    answer = api.create(runtime(namespace, "weather", kind="Deployment", target="weather"))
    assert answer.ok, answer.message
    assert answer.warnings == (
        f"AgentRuntime {namespace}/weather targets Deployment {namespace}/weather, which does not exist yet; "
        "its pods are configured when it does",
    )


def test_an_agentruntime_outside_enrolment_is_accepted_with_the_way_in(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The warning names the label that enrols the namespace."""
    install(mode="both")
    namespace = team(enrolled=False)
    manifest = runtime(namespace, "weather", kind="Deployment", target="weather")
    says = (
        f"NotEnrolled: namespace {namespace} is not enrolled, pods stay bare; "
        f"enrol it: kubectl label namespace {namespace} kagenti.io/enrolled=true"
    )
    wait_until(lambda: says in api.create(manifest, dry_run=True).warnings, 10, lambda: "never said")
    answer = api.create(manifest)
    assert answer.ok, answer.message
    assert says in answer.warnings


def test_deleting_an_agentruntime_says_what_future_pods_will_be(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """In modes with the AgentRuntime trigger, the answer to a delete speaks of the next pods."""
    install(mode="cr")
    namespace = team()
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather")).ok
    answer = api.delete("AgentRuntime", namespace, "weather")
    assert answer.ok, answer.message
    assert answer.warnings == (
        f"future pods of Deployment {namespace}/weather come up without sidecars; running pods keep theirs",
    )


def test_a_namespace_config_that_would_break_a_workload_is_warned_of(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A config that makes an existing AgentRuntime's result inconsistent is accepted with the count of those it breaks."""
    install(mode="both")
    namespace = team()
    ports = {"identity": {"outbound": {"trafficInterception": {"proxyPort": 15200}}}}
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather", **ports)).ok

    clash = config(namespace, identity={"outbound": {"trafficInterception": {"inboundProxyPort": 15200}}})
    begins = (
        "ConfigInvalid: this breaks the settings of 1 AgentRuntime: pods will be denied; "
        f"first AgentRuntime {namespace}/weather: "
    )

    def warned() -> bool:
        answer = api.create(clash, dry_run=True)
        return answer.ok and any(warning.startswith(begins) for warning in answer.warnings)

    wait_until(warned, 10, lambda: f"no warning, but {api.create(clash, dry_run=True).warnings}")

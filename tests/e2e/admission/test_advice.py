"""What a developer is told at kubectl apply: the advice webhook, and the answers for our own kinds."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.admission.manifests import config, runtime, workload
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received
ENABLED = {"kagenti.io/inject": "enabled"}


@pytest.mark.parametrize(
    ("reason", "enrolled", "marks", "says"),
    [
        ("the label is in the wrong place", True, {"own": ENABLED}, "template"),
        ("the type label is missing", True, {"labels": ENABLED}, "kagenti.io/type"),
        ("the type label is odd", True, {"labels": {**ENABLED, "kagenti.io/type": "robot"}}, "robot"),
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
    answer = api.create(manifest)
    assert answer.ok, answer.message
    assert any(says in warning for warning in answer.warnings), (reason, answer.warnings)
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
    assert any("3" in warning and "pod" in warning for warning in answer.warnings), answer.warnings


def test_an_agentruntime_without_target_is_accepted_and_said(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A target that does not exist yet is never an error."""
    install(mode="both")
    answer = api.create(runtime(team(), "weather", kind="Deployment", target="weather"))
    assert answer.ok, answer.message
    assert any("weather" in warning for warning in answer.warnings), answer.warnings


def test_an_agentruntime_outside_enrolment_is_accepted_with_the_way_in(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """The warning names the label that enrols the namespace."""
    install(mode="both")
    answer = api.create(runtime(team(enrolled=False), "weather", kind="Deployment", target="weather"))
    assert answer.ok, answer.message
    assert any("kagenti.io/enrolled" in warning for warning in answer.warnings), answer.warnings


def test_deleting_an_agentruntime_says_what_future_pods_will_be(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """In modes with the AgentRuntime trigger, the answer to a delete speaks of the next pods."""
    install(mode="cr")
    namespace = team()
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather")).ok
    answer = api.delete("AgentRuntime", namespace, "weather")
    assert answer.ok, answer.message
    assert any("pods" in warning for warning in answer.warnings), answer.warnings


def test_a_namespace_config_that_would_break_a_workload_is_warned_of(
    install: Callable[..., Installed], api: ApiClient, team: Callable[..., str]
) -> None:
    """A config that makes an existing AgentRuntime's result inconsistent is accepted with the count of those it breaks."""
    install(mode="both")
    namespace = team()
    ports = {"identity": {"outbound": {"trafficInterception": {"proxyPort": 15200}}}}
    assert api.create(runtime(namespace, "weather", kind="Deployment", target="weather", **ports)).ok

    def warned() -> bool:
        clash = {"identity": {"outbound": {"trafficInterception": {"inboundProxyPort": 15200}}}}
        answer = api.create(config(namespace, **clash))
        api.delete("AgentRuntimeConfig", namespace, "default")
        return answer.ok and any("1" in warning and "AgentRuntime" in warning for warning in answer.warnings)

    wait_until(warned, 10, lambda: "no warning")

"""What nobody gave as an option is read from the cluster: mode, target, covered namespaces, the release's namespace."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.component.cli.api_server import Server
from tests.unit.cli.conftest import Done
from tests.unit.core.test_installed import ADDED, configuration

Run = Callable[..., Done]
JSON = Any  # a raw configuration

PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kagenti-injector"
COVERED = {"matchLabels": {"team": "a"}, "matchExpressions": ADDED}


@pytest.fixture
def reason(kagenti: Run, api: Server) -> Callable[..., tuple[str, str]]:
    """Why a labelled Deployment of team1 is (not) injected there, and what was said beside."""
    template = {"metadata": {"labels": {"kagenti.io/inject": "enabled"}}, "spec": {"containers": []}}
    workload = {"metadata": {"name": "weather", "namespace": "team1"}, "spec": {"template": template}}
    api.namespace("team1")
    api.objects["/apis/apps/v1/namespaces/team1/deployments/weather"] = workload

    def ask(*options: str) -> tuple[str, str]:
        words = ("explain", "deploy/weather", "-n", "team1", "-o", "json", "--kubeconfig", api.kubeconfig)
        done = kagenti(*words, *options)
        return orjson.loads(done.out)["reason"], done.err

    return ask


@pytest.mark.parametrize(
    ("found", "options", "expected"),
    [
        (configuration("inject-label", "inject-cr"), (), "Label"),
        (configuration("inject-cr", selector=COVERED), (), "NotEnrolled"),
        (configuration("inject-cr", selector={"matchExpressions": ADDED}), (), "LabelIgnored"),
        (configuration("inject-cr"), ("--mode", "label"), "Label"),
        (configuration("inject-label"), ("--release-namespace", "team1"), "SystemNamespace"),
    ],
    ids=["both", "not covered", "the label is ignored", "an option wins", "and each for itself"],
)
def test_the_installation_decides(
    found: JSON, options: tuple[str, ...], expected: str, reason: Callable[..., tuple[str, str]], api: Server
) -> None:
    """As the webhook that stands there would."""
    api.objects[PATH] = found
    assert reason(*options) == (expected, "")


def test_what_may_not_be_read_is_assumed_aloud(reason: Callable[..., tuple[str, str]], api: Server) -> None:
    """With the options that say otherwise; nothing is said where all of them are given."""
    api.refused[PATH] = 403
    answer, said = reason("--target", "pods")
    assert answer == "Label"
    assert "taken to be installed: trigger mode both, target pods, release namespace kagenti-system" in said
    assert said.endswith("--mode, --namespace-selector, --release-namespace say otherwise\n")
    given = ("--mode", "both", "--target", "pods", "--namespace-selector", "a=b", "--release-namespace", "k")
    assert reason(*given) == ("Label", "")


def test_where_nothing_is_installed_that_is_said(reason: Callable[..., tuple[str, str]]) -> None:
    """The answer is about an installation that does not stand yet."""
    assert "nothing is injected there now" in reason()[1]

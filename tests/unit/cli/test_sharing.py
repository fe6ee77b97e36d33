"""Who shares a service account, as far as the commands can see: in the files."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.unit.cli.conftest import Done

JSON = Any  # a manifest
Run = Callable[..., Done]
Write = Callable[[str], str]


def deployment(name: str, account: str, *, label: str = "enabled", containers: str = "[{name: a, image: b}]") -> str:
    """A Deployment of team1 under a service account."""
    return f"""\
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: team1}}
spec:
  template:
    metadata: {{labels: {{kagenti.io/inject: {label}}}}}
    spec: {{serviceAccountName: {account}, containers: {containers}}}
"""


NO_SPIFFE = """\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeConfig
metadata: {name: default, namespace: team1}
spec: {identity: {spiffe: {enabled: false}}}
"""
WEATHER = deployment("weather", "bot")
BROKEN = deployment("news", "bot", containers="[]").replace("Deployment", "StatefulSet")


@pytest.mark.parametrize(
    ("reason", "files", "said"),
    [
        ("two under one account", WEATHER + deployment("news", "bot"), "service account 'bot', like Deployment team1/news"),
        ("each under its own", WEATHER + deployment("news", "news"), ""),
        ("the other is not injected", WEATHER + deployment("news", "bot", label="disabled"), ""),
        ("the default account is everybody's", deployment("weather", "default"), "service account 'default': workloads"),
        ("without SPIFFE the name is the client", WEATHER + deployment("news", "bot") + NO_SPIFFE, ""),
        ("a broken one was not asked about", WEATHER + BROKEN, ""),
        ("one workload is not many", WEATHER, ""),
    ],
)  # fmt: skip
def test_files_show_who_shares_an_identity(reason: str, files: str, said: str, kagenti: Run, written: Write) -> None:
    """Explain names the others; it is a warning, and nothing fails for it."""
    done = kagenti("explain", "deployment/weather", "-n", "team1", "-f", written(files), "-o", "json")
    assert done.code == 0, done.err
    found = [warning for warning in orjson.loads(done.out)["warnings"] if warning.startswith("SharedIdentity")]
    assert bool(found) == bool(said), reason
    assert all(said in warning for warning in found)


def test_inject_says_it_of_each(kagenti: Run, written: Write) -> None:
    """One line for each of the workloads, with its place."""
    done = kagenti("inject", "-f", written(WEATHER + deployment("news", "bot") + deployment("alone", "alone")))
    lines = [line for line in done.err.splitlines() if "SharedIdentity" in line]
    assert [("like Deployment team1/news" in line, "like Deployment team1/weather" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]

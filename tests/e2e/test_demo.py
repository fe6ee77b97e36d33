"""``make demo ARGS=--once`` in each trigger mode: what it reports is what the API server showed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.pod_runner import permitted

ROOT = Path(__file__).resolve().parents[2]
DEADLINE = 120  # seconds


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("label", [("inject", "Label", "Label"), ("allow", "not called", None), ("allow", "not called", None)]),
        (
            "cr",
            [("allow", "LabelIgnored", None), ("inject", "AgentRuntime", "AgentRuntime"), ("allow", "NoTrigger", None)],
        ),
        (
            "both",
            [("inject", "Label", "Label"), ("inject", "AgentRuntime", "AgentRuntime"), ("allow", "NoTrigger", None)],
        ),
    ],
)
def test_the_demo_shows_the_main_job(mode: str, expected: list[tuple[str, str, str | None]], tmp_path: Path) -> None:
    """Decision, reason and trigger of the three ways; the third pod is untouched; origins name all three layers."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "scripts.demo", "--once", "--mode", mode, "--report", str(report)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads(report.read_text())
    workloads = written["workloads"]
    assert [(found["decision"], found["reason"], found["trigger"]) for found in workloads] == expected
    assert workloads[2]["untouched"]
    assert workloads[2]["injected"] == []
    if mode != "label":
        origins = {setting["path"]: setting["layer"] for setting in workloads[1]["settings"]}
        assert origins["identity.spiffe.trustDomain"] == "cluster"
        assert origins["identity.clientRegistration.keycloak.realm"] == "namespace"
        assert origins["trace.sampling.rate"] == "workload"
    _shows_live_configuration(written["live"], proxies=sum(found["decision"] == "inject" for found in workloads))


def _shows_live_configuration(live: dict[str, Any], *, proxies: int) -> None:
    """Every injected pod's Envoy answered as it should before and after each change; a broken setting was refused."""
    if permitted() and os.environ.get("CI") != "true":
        return
    assert live["skipped"] == ""
    assert len(live["pods"]) == proxies
    rows = [row for pod in live["pods"] for row in pod["rows"]]
    assert rows
    assert [row for row in rows if row["seen"] != row["wanted"]] == []
    assert "bypassPaths" in live["refusal"]

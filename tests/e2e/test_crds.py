"""The generated CRDs on the real API server: accepted, explained, and as strict as they say."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installed import ROOT
from tests.e2e.kinds import serve_kinds
from tests.e2e.plane.control_plane import ControlPlane
from tests.unit.api.manifests import EXAMPLES, INVALID, VALID, expected

TLS = """\
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeConfig
metadata: {{name: default, namespace: {namespace}}}
spec:
  identity:
    outbound:
      tokenExchange:
        destinationRules: [{{match: {{host: tool.team2}}, action: Passthrough, upstream: {{tls: {tls}}}}}]
"""


@pytest.fixture(scope="module", autouse=True)
def _kinds(cluster: ControlPlane) -> None:
    """The CRDs are installed; no webhook is."""
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        cluster.kubectl("delete", kind, "--all", "--ignore-not-found")
    serve_kinds(cluster)


@pytest.fixture(scope="module")
def place(cluster: ControlPlane) -> Iterator[str]:
    """A namespace for what is really created."""
    cluster.kubectl("create", "namespace", "team1")
    yield "team1"
    cluster.kubectl("delete", "namespace", "team1", "--wait=false")


def dry_run(cluster: ControlPlane, path: Path) -> subprocess.CompletedProcess[str]:
    """Creates a file's objects by server-side dry run, unknown fields being errors."""
    command = [str(cluster.binaries.kubectl), "--kubeconfig", str(cluster.kubeconfig), "create", "--dry-run=server"]
    return subprocess.run([*command, "--validate=false", "-f", str(path)], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_the_designs_examples_are_accepted(path: Path, cluster: ControlPlane) -> None:
    """Unchanged, status included."""
    done = dry_run(cluster, path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_a_fault_is_refused_with_its_field(path: Path, cluster: ControlPlane, place: str) -> None:
    """The API server's message names the field or says what to do."""
    done = dry_run(cluster, path)
    assert done.returncode != 0, done.stdout
    assert expected(path) in done.stderr, done.stderr


def test_every_value_of_tls_can_be_written(cluster: ControlPlane, place: str, tmp_path: Path) -> None:
    """Off too: whoever reads the CRDs by YAML 1.1, where a bare Off is false, must find it in the enum."""
    written = tmp_path / "config.yaml"
    for said, accepted in (("Auto", True), ('"Off"', True), ('"off"', False), ("false", False)):
        written.write_text(TLS.format(namespace=place, tls=said))
        done = dry_run(cluster, written)
        assert (done.returncode == 0) is accepted, (said, done.stdout, done.stderr)
        assert accepted or "upstream.tls" in done.stderr


def test_our_examples_apply_as_they_stand(cluster: ControlPlane, place: str) -> None:
    """Server-side, and a second time without a change."""
    for path in EXAMPLES:
        cluster.kubectl("apply", "--server-side", "-f", str(path))
    again = cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "examples" / "weather-agent-runtime.yaml"))
    assert "agentruntime.kagenti.io/weather-agent-clean serverside-applied" in again


def test_target_ref_is_immutable(cluster: ControlPlane, place: str) -> None:
    """A change of the target is refused with the way out."""
    cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "examples" / "weather-agent-runtime.yaml"))
    patch = '{"spec":{"targetRef":{"name":"other"}}}'
    with pytest.raises(RuntimeError, match="targetRef is immutable"):
        cluster.kubectl("patch", "agentruntime", "weather-agent-clean", "-n", place, "--type=merge", "-p", patch)


def test_fields_can_be_selected(cluster: ControlPlane, place: str) -> None:
    """Target kind and name, and type, are selectable fields."""
    cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "examples" / "weather-agent-runtime.yaml"))
    selector = "spec.targetRef.kind=Deployment,spec.targetRef.name=weather-agent-clean,spec.type=agent"
    found = cluster.kubectl("get", "agentruntimes", "-n", place, f"--field-selector={selector}", "-o", "name")
    assert found.split() == ["agentruntime.kagenti.io/weather-agent-clean"]


@pytest.mark.parametrize(
    "field", ["spec.identity.inbound.port", "spec.trace.sampling.rate", "spec.components.envoyProxy.image"]
)
def test_explain_is_useful(field: str, cluster: ControlPlane) -> None:
    """The words of kubectl explain say what a setting does, its default and its class."""
    said = " ".join(cluster.kubectl("explain", f"agentruntime.{field}").split())
    assert "Default: " in said
    assert "Class: " in said


def test_short_names_and_category_work(cluster: ControlPlane) -> None:
    """art, acard, artcc, artc, and all of them as kagenti."""
    for name in ("art", "acard", "artcc", "artc", "kagenti"):
        cluster.kubectl("get", name, "-A")


def test_no_crd_has_a_structural_complaint(cluster: ControlPlane) -> None:
    """The NonStructuralSchema condition is absent everywhere."""
    said = cluster.kubectl("get", "crd", "-o", "jsonpath={.items[*].status.conditions[*].type}")
    assert "NonStructuralSchema" not in said

"""The fixture ``cluster`` with its two providers, our own control plane (default) and kind; what all tests do with it."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed, Options, installed
from tests.e2e.plane.access import Plane
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.kind import KindCluster, choose_programs

JSON = Any  # a Kubernetes object as received

HERE = Path(__file__).resolve().parent
AGENTS = ("cards", "controller", "operator", "xds")
"""Folders whose tests share the second plane, the agents' one; all others that need a plane share the first."""
OWN_PLANE = (
    *("test_benches", "test_chart", "test_chart_values", "test_demo", "test_keycloak_exchange", "test_keycloak_java"),
    *("test_ambient_mesh", "test_lifecycle", "test_mode_matrix", "test_survival", "test_uninstall", "test_xds"),
)
"""Files that need neither: each runs in whichever process is free."""
AUDIT = "test_zz_audit.py"

# A quarter of what the control plane computes is collecting garbage at Go's default of 100; memory is cheaper here.
os.environ.setdefault("GOGC", "300")
sys.setswitchinterval(0.001)  # the proxy's thread and the tests share one interpreter

WAITING = 6
"""Installations whose webhook runs at once: three modes of two targets."""

LOCAL_ONLY = (
    "runs on the local plane only: it needs the webhook as a local process, the plane's audit log, KWOK's nodes, or an API "
    "server that it may restart; tests marked any_cluster run on kind"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds ``--cluster local|kind``."""
    parser.addoption(
        "--cluster", choices=("local", "kind"), default="local", help="where the end-to-end tests run: local or kind"
    )
    parser.addoption("--update-docs", action="store_true", help="write what was observed into the docs")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """On kind, says of each test that cannot run there why; the audit's tests are the last."""
    if config.getoption("--cluster") == "kind":
        for item in items:
            if item.path.is_relative_to(HERE) and item.get_closest_marker("any_cluster") is None:
                item.add_marker(pytest.mark.skip(reason=LOCAL_ONLY))
    items.sort(key=lambda item: item.path.name == AUDIT)


class Shares(LoadScopeScheduling):
    """Which tests one process runs, one after the other: those of one plane; files with planes of their own each."""

    def _split_scope(self, nodeid: str) -> str:
        """Returns the name of a test's share."""
        file = PurePath(nodeid.partition("::")[0])
        if not file.is_relative_to("tests/e2e"):
            return str(file)
        if self.config.getoption("--cluster") == "kind":
            return "kind"
        if file.stem in OWN_PLANE:
            return file.stem
        of_agents = "[agents" in nodeid if file.name == AUDIT else file.parts[2] in AGENTS
        return "agents" if of_agents else "admission"


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Shares | None:
    """Has ``--dist loadscope`` share by planes instead of by modules."""
    return Shares(config, log) if config.getoption("dist") == "loadscope" else None


def docker_runs() -> bool:
    """Whether a Docker engine answers."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    """A running cluster; on the local provider a ControlPlane."""
    if request.config.getoption("--cluster") == "local":
        with ControlPlane() as plane:
            yield plane
        return
    if not docker_runs():
        pytest.skip("a kind cluster needs a Docker engine, and none answers; run with --cluster local")
    choose_programs(request.config.option)
    yield KindCluster(request.getfixturevalue("kind_cluster"), tmp_path_factory.mktemp("kind")).load_image()


@pytest.fixture(scope="module")
def kagenti(cluster: Plane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Kagenti with its default values: on kind by the chart alone, on the local plane with the webhook as a local process."""
    if isinstance(cluster, KindCluster):
        cluster.install(mode="both")
        yield
        return
    assert isinstance(cluster, ControlPlane)
    with installed(cluster, Options(), folder=tmp_path_factory.mktemp("kagenti")):
        yield


@pytest.fixture(scope="session")
def api(cluster: ControlPlane) -> Iterator[ApiClient]:
    """A client of the API server as its administrator."""
    client = ApiClient(cluster)
    yield client
    client.close()


@pytest.fixture(scope="session")
def install(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Installed]]:
    """Gives the installation with these options as the one that the API server calls, whatever was done to it before.

    The webhooks of the others wait, so that going back to one is no start of a process.
    """
    made: dict[Options, Installed] = {}  # used last comes last

    def give(**options: Any) -> Installed:
        wanted = Options(**options)
        found = made.pop(wanted, None)
        if found is None:
            found = Installed(cluster, wanted, folder=tmp_path_factory.mktemp("kagenti"))
        made[wanted] = found
        found.resume()
        for spare in list(made)[:-WAITING]:
            made.pop(spare).webhook.stop()
        return found

    yield give
    for installation in made.values():
        installation.stop()


_numbers = itertools.count(1)


@pytest.fixture
def team(api: ApiClient) -> Iterator[Callable[..., str]]:
    """Makes namespaces: ``team(enrolled=True, labels={...})`` returns a new name; deleted afterwards."""
    made: list[str] = []

    def make(*, enrolled: bool = True, labels: dict[str, str] | None = None) -> str:
        name = f"team-{next(_numbers)}"
        marks = {**({"kagenti.io/enrolled": "true"} if enrolled else {}), **(labels or {})}
        answer = api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": marks}})
        assert answer.ok, answer.message
        made.append(name)
        return name

    yield make
    for name in made:
        api.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def cluster_config(api: ApiClient) -> Iterator[Callable[[JSON], None]]:
    """Writes the AgentRuntimeClusterConfig for one test; removed afterwards."""

    def write(spec: JSON) -> None:
        api.delete("AgentRuntimeClusterConfig", "", "default")
        manifest = {
            "apiVersion": "kagenti.io/v1alpha1",
            "kind": "AgentRuntimeClusterConfig",
            "metadata": {"name": "default"},
            "spec": spec,
        }
        answer = api.create(manifest)
        assert answer.ok, answer.message

    yield write
    api.delete("AgentRuntimeClusterConfig", "", "default")

"""Fixtures of the admission tests: an installation in the mode a test asks for, a client, and enrolled namespaces."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed, Options
from tests.e2e.plane.control_plane import ControlPlane

JSON = Any  # a Kubernetes object as received


@pytest.fixture(scope="session")
def api(cluster: ControlPlane) -> Iterator[ApiClient]:
    """A client of the API server as its administrator."""
    client = ApiClient(cluster)
    yield client
    client.close()


@pytest.fixture(scope="session")
def install(cluster: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Installed]]:
    """Gives the installation with these options, switching from the one before where they differ."""
    current: dict[Options, Installed] = {}

    def give(**options: Any) -> Installed:
        wanted = Options(**options)
        if wanted not in current:
            for installation in current.values():
                installation.stop()
            current.clear()
            installation = Installed(cluster, wanted, folder=tmp_path_factory.mktemp("kagenti"))
            installation.start()
            current[wanted] = installation
        return current[wanted]

    yield give
    for installation in current.values():
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

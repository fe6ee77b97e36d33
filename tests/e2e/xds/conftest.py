"""kagenti with its xDS server, an identity provider on the node's address, and injected pods that run for real."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.e2e.admission.manifests import config, workload
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import Node, PodRunner, permitted
from tests.e2e.xds_process import HOST, Xds
from tests.oidc import Client, Oidc

JSON = Any  # a Kubernetes object as received


@pytest.fixture(scope="session")
def node() -> Iterator[str]:
    """The node's address; skips where no network namespace can be made, but on CI, where it must be possible."""
    why = permitted()
    if why and os.environ.get("CI") != "true":
        pytest.skip(why)
    assert not why
    with Node() as made:
        yield made.ADDRESS


@pytest.fixture(scope="session")
def idp(node: str) -> Iterator[Oidc]:
    """An OIDC provider with RFC 8693 that pods and the xDS server reach; its clients are added by tests."""
    client = Client("weather", secret="weather-secret", scopes={"tool-scope": "tool", "other-scope": "other"})
    with Oidc(client, audiences=("tool", "other"), host=node) as provider:
        yield provider


@pytest.fixture(scope="session")
def mesh(install: Callable[..., Installed], node: str) -> Iterator[Callable[[], Xds]]:
    """Gives a running xDS server of the installation in mode both; it looks for new keys often."""
    current: list[Xds] = []

    def give() -> Xds:
        installation = install(mode="both")
        if not current or current[0].installation is not installation:
            for old in current:
                old.stop()
            current[:] = [Xds(installation, address=node, program="tests.e2e.quick")]
        if current[0].process is None or not current[0].alive:
            current[0].start()
        return current[0]

    yield give
    for xds in current:
        xds.stop()


@pytest.fixture
def xds(mesh: Callable[[], Xds]) -> Xds:
    """A running xDS server."""
    return mesh()


@pytest.fixture
def namespace(team: Callable[..., str], api: ApiClient, idp: Oidc) -> str:
    """An enrolled namespace whose identity provider is ours, under no cluster config that another test left."""
    api.delete("AgentRuntimeClusterConfig", "", "default")
    name = team()
    keycloak = {"url": idp.url, "realm": idp.realm, "adminCredentialsSecret": "keycloak-admin"}
    answer = api.create(config(name, identity={"clientRegistration": {"keycloak": keycloak}}))
    assert answer.ok, answer.message
    return name


def pod_of(api: ApiClient, namespace: str, app: str, *, besides: Collection[str] = ()) -> JSON:
    """Returns the newest running pod of an app, as the API server has it; none of ``besides``, by UID."""
    found: list[JSON] = []

    def running() -> bool:
        pods = api.items("Pod", namespace, labelSelector=f"app={app}")
        found[:] = [
            pod
            for pod in pods
            if pod.get("status", {}).get("phase") == "Running"
            and not pod["metadata"].get("deletionTimestamp")
            and pod["metadata"]["uid"] not in besides
        ]
        found.sort(key=lambda pod: str(pod["metadata"]["creationTimestamp"]), reverse=True)
        return bool(found)

    wait_until(running, 60, lambda: f"no running pod of {app} in {namespace}")
    return found[0]


@pytest.fixture
def run_pod(xds: Xds, api: ApiClient, cluster: ControlPlane, namespace: str) -> Iterator[Callable[..., PodRunner]]:
    """Creates an injected Deployment and runs its pod: interception, Envoy and app stand-ins, ready when it returns.

    Of a Deployment that is there already, runs one pod more.
    """
    with ExitStack() as stack:

        def run(
            name: str = "weather",
            *,
            within: str = namespace,
            ports: tuple[int | str, ...] = (8081,),
            names: dict[str, str] | None = None,
            wait: bool = True,
            change: Callable[[JSON], None] = lambda _: None,
            client: tuple[str, str] = ("weather", "weather-secret"),
            prepare: Callable[[PodRunner], None] = lambda _: None,
        ) -> PodRunner:
            before = {pod["metadata"]["uid"] for pod in api.items("Pod", within, labelSelector=f"app={name}")}
            if before:
                answer = api.merge("Deployment", within, name, {"spec": {"replicas": len(before) + 1}})
            else:
                manifest = workload("Deployment", within, name, labels={"kagenti.io/inject": "enabled"})
                change(manifest)
                answer = api.create(manifest)
            assert answer.ok, answer.message
            pod = pod_of(api, within, name, besides=before)
            runner = PodRunner(pod, cluster, names={HOST: xds.address, **(names or {})}, client=client)
            stack.enter_context(runner)
            prepare(runner)
            runner.intercept()
            runner.start_app(*ports)
            runner.start_envoy()
            if wait:
                runner.wait_started()
            return runner

        yield run

"""Another team's webhook on the same pods, before and after ours: reinvocation converges, the receipt tells the truth."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import pod
from tests.e2e.admission.neighbour import Neighbour
from tests.e2e.admission.observed import injected, receipt
from tests.e2e.api_client import ApiClient
from tests.e2e.installed import Installed
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.neighbours import additions

JSON = Any  # a pod, or an operation on it


def adds_a_container(found: JSON) -> list[JSON]:
    """Appends a sidecar of its own, once."""
    if any(container["name"] == "metrics" for container in found["spec"]["containers"]):
        return []
    return [{"op": "add", "path": "/spec/containers/-", "value": {"name": "metrics", "image": "example/metrics:1"}}]


def strips_restart_policy(found: JSON) -> list[JSON]:
    """Drops restartPolicy from every init container, as a webhook built against an old API does."""
    return [
        {"op": "remove", "path": f"/spec/initContainers/{index}/restartPolicy"}
        for index, container in enumerate(found["spec"].get("initContainers") or ())
        if "restartPolicy" in container
    ]


def exchanges_our_image(found: JSON) -> list[JSON]:
    """Points envoy-proxy to another image."""
    return [
        {"op": "replace", "path": f"/spec/initContainers/{index}/image", "value": "evil/envoy:1"}
        for index, container in enumerate(found["spec"].get("initContainers") or ())
        if container["name"] == "envoy-proxy" and container["image"] != "evil/envoy:1"
    ]


def puts_itself_first(found: JSON) -> list[JSON]:
    """Prepends an init container, once."""
    if any(container["name"] == "first" for container in found["spec"].get("initContainers") or ()):
        return []
    item = {"name": "first", "image": "example/first:1"}
    if "initContainers" in found["spec"]:
        return [{"op": "add", "path": "/spec/initContainers/0", "value": item}]
    return [{"op": "add", "path": "/spec/initContainers", "value": [item]}]


def reverses_init_containers(found: JSON) -> list[JSON]:
    """Turns the order round at each call, where there is one."""
    items = found["spec"].get("initContainers") or []
    return [{"op": "replace", "path": "/spec/initContainers", "value": items[::-1]}] if len(items) > 1 else []


def adds_vault_agent(found: JSON) -> list[JSON]:
    """Adds what Vault's injector does: containers, volumes, and its mount in every container."""
    return additions("vault-agent", found)


def adds_an_istio_sidecar(found: JSON) -> list[JSON]:
    """Adds what Istio's injector does, once."""
    return additions("istio-sidecar", found)


@pytest.fixture
def neighbour(api: ApiClient, cluster: ControlPlane, tmp_path: Path) -> Iterator[Callable[..., Neighbour]]:
    """Registers a neighbour for one namespace; gone afterwards."""
    made: list[tuple[str, Neighbour]] = []

    def give(
        patch: Callable[[JSON], list[JSON]], *, name: str, namespace: str, reinvocation: str = "IfNeeded"
    ) -> Neighbour:
        server = Neighbour(tmp_path, patch)
        server.start()
        made.append((name, server))
        text = orjson.dumps(server.configuration(name, namespace, reinvocation=reinvocation)).decode()
        cluster.kubectl("create", "-f", "-", stdin=text)

        def called() -> bool:
            before = server.calls
            api.create(pod(namespace, "probe"), dry_run=True)
            return server.calls > before

        wait_until(called, 10, lambda: "the neighbour is not called")
        return server

    yield give
    for name, server in made:
        cluster.kubectl("delete", "mutatingwebhookconfiguration", name, "--ignore-not-found")
        server.stop()


# Mutating webhooks are called in the order of their configurations' names, then once more where a later one changed the
# pod and their reinvocationPolicy says IfNeeded; ours is kagenti-injector. Who stands behind us and is called again has
# the last word, so what fights us there can only be one that is called once (Kubernetes: reinvocation policy).
BEFORE, AFTER = "a-neighbour", "z-neighbour"
CASES = [
    (adds_a_container, BEFORE, "IfNeeded"),
    (adds_a_container, AFTER, "IfNeeded"),
    (puts_itself_first, BEFORE, "IfNeeded"),
    (puts_itself_first, AFTER, "IfNeeded"),
    (strips_restart_policy, BEFORE, "IfNeeded"),
    (strips_restart_policy, AFTER, "Never"),
    (exchanges_our_image, BEFORE, "IfNeeded"),
    (exchanges_our_image, AFTER, "Never"),
    (reverses_init_containers, BEFORE, "IfNeeded"),
    (reverses_init_containers, AFTER, "Never"),
    (adds_vault_agent, BEFORE, "IfNeeded"),
    (adds_vault_agent, AFTER, "IfNeeded"),
]


@pytest.mark.parametrize(("patch", "name", "reinvocation"), CASES)
def test_we_converge_beside_a_neighbour(
    patch: Callable[[JSON], list[JSON]],
    name: str,
    reinvocation: str,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    neighbour: Callable[..., Neighbour],
) -> None:
    """Whatever the neighbour does, and whenever: our containers come out as we set them, ours first, in order."""
    install(mode="both")
    namespace = team()
    other = neighbour(patch, name=name, namespace=namespace, reinvocation=reinvocation)
    answer = api.create(pod(namespace, "weather", label="enabled"))
    assert answer.ok, answer.message
    assert "weather" in other.changed, "the neighbour changed nothing: this case shows nothing"
    assert injected(answer.body)
    found = answer.body["spec"]["initContainers"]
    assert [container["name"] for container in found[:4]] == receipt(answer.body)["containers"]
    assert all("evil" not in container["image"] for container in found)
    assert [container.get("restartPolicy") for container in found[:4]] == ["Always", "Always", "Always", None]
    if patch is adds_a_container:
        late = next(container for container in answer.body["spec"]["containers"] if container["name"] == "metrics")
        assert any(entry["name"] == "OTEL_SERVICE_NAME" for entry in late["env"])
    theirs = {puts_itself_first: ["first"], adds_vault_agent: ["vault-agent-init"]}
    assert [container["name"] for container in found[4:]] == theirs.get(patch, [])
    if patch is adds_vault_agent:
        assert set(receipt(answer.body)["environment"]) == {"agent", "vault-agent"}
        assert not any(
            "/vault/" in mount["mountPath"] for container in found[:4] for mount in container["volumeMounts"]
        )


@pytest.mark.parametrize("name", [BEFORE, AFTER], ids=["before us", "after us"])
def test_another_meshs_sidecar_is_denied_in_either_order(
    name: str,
    install: Callable[..., Installed],
    api: ApiClient,
    team: Callable[..., str],
    neighbour: Callable[..., Neighbour],
) -> None:
    """Whichever webhook comes first, a pod with two interceptors does not start; the way out is named."""
    install(mode="both")
    namespace = team()
    other = neighbour(adds_an_istio_sidecar, name=name, namespace=namespace)
    answer = api.create(pod(namespace, "weather", label="enabled"))
    assert "weather" in other.changed
    assert not answer.ok
    for word in ("ForeignInterceptor", "Istio's interceptor", "ambient"):
        assert word in answer.message
    assert api.create(pod(namespace, "clean")).ok, "a pod that is not injected may be in the mesh"

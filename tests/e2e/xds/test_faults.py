"""What breaks around a running Envoy, and what it does meanwhile: serve by what it has, and catch up by itself."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import jwt
import pytest

from tests.e2e.admission.manifests import config
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.pod_runner.admin import CONNECTED, UPDATES
from tests.e2e.pod_runner.volumes import project
from tests.e2e.quick import KEYS
from tests.e2e.xds.callers import Callers, failed
from tests.e2e.xds.calls import ask
from tests.e2e.xds.settings import apply_runtime, awaited, outbound, rule
from tests.e2e.xds.streams import token_of
from tests.e2e.xds.test_inbound import audience
from tests.e2e.xds_process import Xds
from tests.oidc import Client, Key, Oidc

JSON = Any  # settings and debug pages
COMES_BACK = 40.0  # seconds: Envoy asks again after at most 5 s, the servers have to start, and may be slow
REFUSED = 'kagenti_xds_streams_total{event="refused"}'
"""Shown by a server that has refused somebody."""
ROUNDS = 5.0  # seconds for push and effect, and for a busy machine


@pytest.fixture
def own_idp(node: str) -> Iterator[Oidc]:
    """An identity provider that a test may stop, of the namespace ``team`` alone."""
    with Oidc(Client("weather", secret="weather-secret"), realm="faulty", host=node) as provider:
        provider.keys = [Key("faulty-1")]
        yield provider


@pytest.fixture
def own_team(team: Callable[..., str], api: ApiClient, own_idp: Oidc) -> str:
    """A namespace of that provider."""
    name = team()
    keycloak = {"url": own_idp.url, "realm": own_idp.realm, "adminCredentialsSecret": "keycloak-admin"}
    answer = api.create(config(name, identity={"clientRegistration": {"keycloak": keycloak}}))
    assert answer.ok, answer.message
    return name


def stream_of(xds: Xds, pod: PodRunner) -> JSON:
    """Returns the pod's stream as the server shows it; empty where it has none."""
    uid = pod.pod["metadata"]["uid"]
    return next((stream for stream in xds.debug("streams") if stream["uid"] == uid), {})


def wait_propagated(xds: Xds, *pods: PodRunner) -> None:
    """Waits until the server has these pods' streams, and their acknowledgement of everything."""

    def all_are() -> bool:
        return all(stream_of(xds, pod).get("verdict") == "propagated" for pod in pods)

    wait_until(all_are, COMES_BACK, lambda: f"{xds.debug('streams')} {xds.log.read_text()[-1500:]}")


def wait_disconnected(*pods: PodRunner) -> None:
    """Waits until the Envoys have noticed that their server is gone."""
    for pod in pods:
        wait_until(lambda: pod.admin.statistic(CONNECTED) == 0, COMES_BACK, lambda: "still connected")  # noqa: B023


def accept(api: ApiClient, namespace: str, audience_: str) -> None:
    """Sets who callers' tokens must be for."""
    change = {"spec": {"identity": {"inbound": {"validation": {"audience": audience_}}}}}
    answer = api.merge("AgentRuntimeConfig", namespace, "default", change)
    assert answer.ok, answer.message


def wait_accepted(pod: PodRunner, token: str) -> None:
    """Waits until a pod lets that token in."""
    wait_until(
        lambda: ask(pod.address, 8081, token=token).status == 200,
        COMES_BACK,
        lambda: f"still {ask(pod.address, 8081, token=token)}",
    )


def test_a_killed_server_is_missed_by_nobody(
    run_pod: Callable[..., PodRunner], xds: Xds, api: ApiClient, namespace: str, idp: Oidc
) -> None:
    """Envoys serve on without it, come back by themselves, and are sent nothing but what has changed meanwhile."""
    apply_runtime(api, namespace, outbound(rule("tool.tools.svc", "tool", "tool-scope"), policy="Deny"))
    pods = [run_pod("weather"), run_pod("payroll")]
    wait_propagated(xds, *pods)
    token = idp.token(aud=[audience(namespace), "changed.example"])
    before = [pod.admin.statistics(UPDATES) for pod in pods]
    assert all(any(counts.values()) for counts in before)
    with ExitStack() as stack:
        callers = [Callers.from_outside(pod, 8081, token=token) for pod in pods]
        for each in callers:
            stack.callback(each.stop)
        xds.kill()
        wait_disconnected(*pods)
        xds.start()
        wait_propagated(xds, *pods)
        assert [pod.admin.statistics(UPDATES) for pod in pods] == before
        xds.kill()
        wait_disconnected(*pods)
        accept(api, namespace, "changed.example")
        xds.start()
        for pod in pods:
            wait_accepted(pod, idp.token(aud="changed.example"))
        wait_propagated(xds, *pods)
        assert [failed(each.stop()) for each in callers] == [{}, {}]
    after = [pod.admin.statistics(UPDATES) for pod in pods]
    changed = {name for counts, old in zip(after, before, strict=True) for name in counts if counts[name] != old[name]}
    assert {name.rpartition(".")[0] for name in changed} == {"http.inbound.rds.inbound"}


def test_a_server_that_starts_before_the_api_server_waits_for_it(
    run_pod: Callable[..., PodRunner], xds: Xds, api: ApiClient, cluster: ControlPlane, namespace: str, idp: Oidc
) -> None:
    """It lives, says what it lacks, and takes running Envoys on once it knows what they ought to have."""
    pod = run_pod()
    token = idp.token(aud=audience(namespace))
    xds.kill()
    cluster.stop_api_server()
    try:
        xds.start(wait=False)
        wait_until(lambda: "Cannot connect to host" in xds.lacks(), COMES_BACK, xds.lacks)
        assert xds.alive
        assert not xds.ready()
        assert ask(pod.address, 8081, token=token).status == 200
    finally:
        cluster.start_api_server()
        xds.installation.resume()
    wait_until(xds.ready, 60, lambda: f"{xds.lacks()} {xds.log.read_text()[-1500:]}")
    wait_propagated(xds, pod)
    assert ask(pod.address, 8081, token=token).status == 200
    accept(api, namespace, "afterwards.example")
    wait_accepted(pod, idp.token(aud="afterwards.example"))


def test_an_envoy_that_starts_before_the_server_serves_nobody(
    run_pod: Callable[..., PodRunner], xds: Xds, namespace: str, idp: Oidc
) -> None:
    """Its startupProbe holds the pod back, and no port of it answers; it is up a moment after the server."""
    xds.kill()
    pod = run_pod(wait=False)
    wait_until(lambda: attempts(pod) > 1, COMES_BACK, lambda: "Envoy does not try")
    assert not pod.started()
    assert [ask(pod.address, port, token=idp.token(aud=audience(namespace))).status for port in (8080, 8081)] == [0, 0]
    xds.start()
    pod.wait_started()
    assert ask(pod.address, 8081).status == 401
    assert ask(pod.address, 8081, token=idp.token(aud=audience(namespace))).status == 200


def attempts(pod: PodRunner) -> int:
    """Returns how often an Envoy has tried to reach the server in vain."""
    try:
        return pod.admin.statistic("cluster.xds.upstream_cx_connect_fail")
    except (OSError, KeyError):  # it has only just begun
        return 0


def test_without_keys_at_the_start_a_pod_waits(
    run_pod: Callable[..., PodRunner], xds: Xds, api: ApiClient, own_team: str, own_idp: Oidc
) -> None:
    """Status names the URL; the provider's first answer opens the pod. Once known, its keys outlast its outage."""
    own_idp.stop()
    pod = run_pod(within=own_team, wait=False)
    missing, kinds = f"no keys have come from {own_idp.jwks_url}", [("AgentRuntimeConfig", "default")]
    awaited(api, own_team, ("False", "Pending"), kinds=kinds, says=missing, pending=1, acked=0)
    assert not pod.started()
    own_idp.start()
    pod.wait_started(KEYS + COMES_BACK)
    token = own_idp.token(aud=audience(own_team))
    assert ask(pod.address, 8081, token=token).status == 200

    own_idp.stop()
    xds.kill()
    wait_disconnected(pod)
    xds.start()
    wait_until(lambda: stream_of(xds, pod), COMES_BACK, lambda: "no stream")
    wait_until(lambda: key_fault(xds, own_idp), COMES_BACK, lambda: str(xds.debug("keys")))
    wait_until(lambda: withheld(xds, own_team) == [["jwt"]], COMES_BACK, lambda: str(withheld(xds, own_team)))
    accept(api, own_team, "later.example")  # everything but the keys is still live
    wait_accepted(pod, own_idp.token(aud="later.example"))
    assert ask(pod.address, 8081, token=token).status == 403
    assert ask(pod.address, 8081).status == 401
    own_idp.start()
    wait_until(lambda: not key_fault(xds, own_idp), KEYS + COMES_BACK, lambda: str(xds.debug("keys")))
    wait_propagated(xds, pod)
    assert ask(pod.address, 8081, token=own_idp.token(aud="later.example")).status == 200


def withheld(xds: Xds, namespace: str) -> list[JSON]:
    """Returns what each snapshot of a namespace is sent without."""
    return [found["withheld"] for found in xds.debug("snapshots") if f"{namespace}/" in found["workload"]]


def key_fault(xds: Xds, provider: Oidc) -> str:
    """Returns why the server has no fresh keys of a provider; empty when it has."""
    return "".join(found["fault"] for found in xds.debug("keys") if found["url"] == provider.jwks_url)


def test_a_rotated_key_is_known_within_one_poll(
    run_pod: Callable[..., PodRunner], own_team: str, own_idp: Oidc
) -> None:
    """While Envoy serves: the new key's tokens are let in then, the withdrawn one's no longer."""
    pod = run_pod(within=own_team)
    old = own_idp.token(aud=audience(own_team))
    assert ask(pod.address, 8081, token=old).status == 200
    key = Key("faulty-2")
    new = key.sign(jwt.decode(old, options={"verify_signature": False}))
    assert ask(pod.address, 8081, token=new).status == 401  # before it is published: the next poll may be at once
    own_idp.keys, begun = [key], time.monotonic()
    wait_until(lambda: ask(pod.address, 8081, token=new).status == 200, KEYS + ROUNDS, lambda: "the new key is unknown")
    assert time.monotonic() - begun < KEYS + ROUNDS
    assert ask(pod.address, 8081, token=old).status == 401


def test_a_rotated_token_is_used_by_the_next_stream(
    run_pod: Callable[..., PodRunner], xds: Xds, api: ApiClient, cluster: ControlPlane, namespace: str, idp: Oidc
) -> None:
    """The open stream does not notice; a bad token keeps Envoy out but serving, the next good one lets it in again."""
    pod = run_pod()
    wait_propagated(xds, pod)
    first, tokens = stream_of(xds, pod), pod.volumes.folder("kagenti-tokens")
    rotate(pod, token_of(cluster, pod.pod, seconds=7200))
    apply_runtime(api, namespace, outbound(rule("tool.tools.svc", action="Deny")))
    before = (None, "", first["revision"])
    wait_until(
        lambda: stream_of(xds, pod).get("revision") not in before, COMES_BACK, lambda: f"no push: {stream_of(xds, pod)}"
    )
    wait_propagated(xds, pod)
    assert {**stream_of(xds, pod), "revision": ""} == {**first, "revision": ""}, "another stream, by the new token"

    xds.kill()
    wait_disconnected(pod)
    xds.start()
    wait_propagated(xds, pod)
    assert stream_of(xds, pod)["expiresAt"] == expiry((tokens / "xds-token").read_text()) != first["expiresAt"]

    rotate(pod, "no-token-at-all")
    xds.kill()
    wait_disconnected(pod)
    xds.start()
    wait_until(lambda: REFUSED in (xds.page("/metrics") or ""), COMES_BACK, lambda: "Envoy was not refused")
    accept(api, namespace, "rotated.example")
    token = idp.token(aud=audience(namespace))
    assert (stream_of(xds, pod), ask(pod.address, 8081, token=token).status) == ({}, 200)
    pod.volumes.refresh()
    wait_accepted(pod, idp.token(aud="rotated.example"))
    wait_propagated(xds, pod)


def rotate(pod: PodRunner, token: str) -> None:
    """Gives the pod another token for us, as the kubelet does when four fifths of its time are over."""
    tokens = pod.volumes.folder("kagenti-tokens")
    files = {file.name: file.read_text() for file in tokens.iterdir() if file.is_file()}
    project(tokens, {**files, "xds-token": token}, 0o644)


def expiry(token: str) -> float:
    """Returns when a token ends, seconds since the epoch."""
    return float(jwt.decode(token, options={"verify_signature": False})["exp"])

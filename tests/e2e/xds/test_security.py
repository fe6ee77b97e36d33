"""Keys and secrets: nobody's URL vouches for another's issuer, and what is secret is in no snapshot, log or status."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest

from tests.e2e.admission.manifests import config, workload
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import ask, call_out
from tests.e2e.xds.conftest import pod_of
from tests.e2e.xds.servers import echoing
from tests.e2e.xds.settings import apply_runtime, awaited, outbound, propagation, rule
from tests.e2e.xds.streams import contents, node_id, stream, token_of
from tests.e2e.xds.test_inbound import audience
from tests.e2e.xds_process import Xds
from tests.oidc import Key, Oidc
from tests.xds_client import EXTENSION, ROUTE

JSON = Any  # settings
PASSWORD = "admin-password-4711"  # the marker to look for


@pytest.fixture
def rogue(node: str) -> Iterator[Oidc]:
    """Another provider, whose keys are its own."""
    with Oidc(host=node) as provider:
        provider.keys = [Key("rogue")]
        yield provider


async def test_keys_on_loopback_are_not_fetched(
    xds: Xds, api: ApiClient, cluster: ControlPlane, namespace: str
) -> None:
    """Unit tests have link-local, redirects and the rest (tests/component/xds/test_fetch.py). No keys, no ``jwt``: closed."""
    with Oidc() as inside:
        validation = {"jwksUrl": inside.jwks_url}
        change = {"spec": {"identity": {"inbound": {"validation": validation}}}}
        assert api.merge("AgentRuntimeConfig", namespace, "default", change).ok
        assert api.create(workload("Deployment", namespace, "weather", labels={"kagenti.io/inject": "enabled"})).ok
        pod = pod_of(api, namespace, "weather")

        def fault() -> str:
            return "".join(found["fault"] for found in xds.debug("keys") if found["url"] == inside.jwks_url)

        async with stream(xds, token_of(cluster, pod), node=node_id(pod)) as client:
            await client.until(lambda: "inbound" in client.held[ROUTE], 20)
            wait_until(fault, 30, lambda: str(xds.debug("keys")))
            assert "loopback" in fault()
            assert "jwt" not in client.held[EXTENSION]
            missing, kinds = f"no keys have come from {inside.jwks_url}", [("AgentRuntimeConfig", "default")]
            awaited(api, namespace, ("False", "Pending"), kinds=kinds, says=missing, pending=1, acked=0)
            # As long as somebody reads it: a snapshot without readers is made anew when it is asked for.
            shown = [found for found in xds.debug("snapshots") if f"{namespace}/" in found["workload"]]
            assert [found["withheld"] for found in shown] == [["jwt"]]
        assert inside.requests == []


def test_another_namespaces_keys_do_not_vouch_for_our_issuer(
    run_pod: Callable[..., PodRunner],
    team: Callable[..., str],
    api: ApiClient,
    namespace: str,
    idp: Oidc,
    rogue: Oidc,
) -> None:
    """Two namespaces name one issuer; what the other's key set signs is good there, and nothing here."""
    other = team()
    keycloak = {"url": idp.url, "realm": idp.realm, "adminCredentialsSecret": "keycloak-admin"}
    validation = {"issuer": idp.issuer, "jwksUrl": rogue.jwks_url}
    identity = {"clientRegistration": {"keycloak": keycloak}, "inbound": {"validation": validation}}
    assert api.create(config(other, identity=identity)).ok
    ours, theirs = run_pod(), run_pod(within=other)

    def by(provider: Oidc, where: str) -> str:
        return provider.token(iss=idp.issuer, aud=audience(where))

    assert ask(theirs.address, 8081, token=by(rogue, other)).status == 200
    assert ask(ours.address, 8081, token=by(idp, namespace)).status == 200
    assert ask(ours.address, 8081, token=by(rogue, namespace)).status == 401
    assert ask(theirs.address, 8081, token=by(idp, other)).status == 401


def test_names_with_metacharacters_match_exactly(
    run_pod: Callable[..., PodRunner], api: ApiClient, namespace: str, idp: Oidc
) -> None:
    """Audience, scope and bypass path: a dot is a dot, and what only looks alike is refused."""
    validation = {"audience": "a.b+c", "requiredScopes": ["agent.call"], "bypassPaths": ["/docs/v1.0"]}
    change = {"spec": {"identity": {"inbound": {"validation": validation}}}}
    assert api.merge("AgentRuntimeConfig", namespace, "default", change).ok
    pod = run_pod()
    for aud, scope, status in (
        ("a.b+c", "agent.call", 200),
        ("axb+c", "agent.call", 403),
        ("a.bbc", "agent.call", 403),
        ("a.b+c", "agentxcall", 403),
    ):
        assert ask(pod.address, 8081, token=idp.token(aud=aud, scope=scope)).status == status, (aud, scope)
    assert ask(pod.address, 8081, "/docs/v1.0").status == 200
    assert ask(pod.address, 8081, "/docs/v1x0").status == 401


async def test_no_secret_is_in_a_snapshot_a_log_or_status(
    run_pod: Callable[..., PodRunner],
    xds: Xds,
    api: ApiClient,
    cluster: ControlPlane,
    namespace: str,
    idp: Oidc,
    node: str,
) -> None:
    """After good and bad requests in both directions, each of which could have told."""
    credentials = {"KEYCLOAK_ADMIN_USERNAME": "admin", "KEYCLOAK_ADMIN_PASSWORD": PASSWORD}
    literals = [f"--from-literal={key}={value}" for key, value in credentials.items()]
    cluster.kubectl("create", "secret", "generic", "keycloak-admin", "-n", namespace, *literals)
    apply_runtime(
        api, namespace, outbound(rule("tool.tools.svc", "tool", "tool-scope"), rule("bad.tools.svc", "nobody", "x"))
    )
    pod = run_pod(names={"tool.tools.svc": node, "bad.tools.svc": node})
    mine, caller = idp.token(aud="weather", azp="weather"), idp.token(aud=audience(namespace))
    with echoing(node) as tool:
        assert call_out(pod, f"http://tool.tools.svc:{tool.port}/", token=mine).status == 200
        assert call_out(pod, f"http://bad.tools.svc:{tool.port}/", token=mine).status in (403, 502)
        given = tool.requests[-1]["authorization"].removeprefix("Bearer ")
    assert ask(pod.address, 8081, token=caller).status == 200
    assert ask(pod.address, 8081, f"/?q={PASSWORD}", token=mine).status == 403
    projected = (pod.volumes.folder("kagenti-tokens") / "xds-token").read_text()
    async with stream(xds, projected, node=node_id(pod.pod)) as client:
        await client.until(lambda: b"tool-scope" in contents(client), 20)
        held = contents(client)
    log = pod.folder / "envoy.log"
    wait_until(lambda: '"aud":"nobody"' in log.read_text(), 30, lambda: "no denial in the access log")
    places = {
        "snapshot": held,
        "Envoy's log": log.read_bytes(),
        "xds's log": xds.log.read_bytes(),
        "webhook's log": xds.installation.webhook.log_file.read_bytes(),
        "debug pages": orjson.dumps([xds.debug(page) for page in ("streams", "snapshots", "keys")]),
        "status and events": statuses(api, cluster, namespace),
    }
    assert all(places.values()), "nothing was looked at"
    tokens = {"caller's": caller, "exchanged": given, "app's": mine, "pod's": projected}
    secrets = {f"the {name} token": text.strip().rpartition(".")[2].encode() for name, text in tokens.items()}
    for name, text in (("the client's secret", "weather-secret"), ("the admin's password", PASSWORD)):
        secrets |= {name: text.encode(), f"{name} encoded": base64.b64encode(text.encode())}
    secrets["a private key"] = b"PRIVATE KEY"
    found = [
        f"{secret} in {place}" for place, text in places.items() for secret, mark in secrets.items() if mark in text
    ]
    assert found == []


def statuses(api: ApiClient, cluster: ControlPlane, namespace: str) -> bytes:
    """Returns status of our objects and all events of the namespace."""
    objects = (("AgentRuntime", "weather"), ("AgentRuntimeConfig", "default"))
    for kind, name in objects:
        wait_until(lambda: propagation(api, kind, namespace, name)[1], 30, lambda: "no condition")  # noqa: B023
    found = [api.get(kind, namespace, name).body["status"] for kind, name in objects]
    return orjson.dumps(found) + cluster.kubectl("get", "events", "-n", namespace, "-o", "json").encode()

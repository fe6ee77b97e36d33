"""The default policy Deny is meant: HTTP, TLS and other TCP to what nothing lists, live, but for what must always pass."""

from collections.abc import Callable, Iterator

import pytest

from tests.e2e.api_client import ApiClient
from tests.e2e.plane.waiting import wait_until
from tests.e2e.pod_runner import PodRunner
from tests.e2e.xds.calls import call_out
from tests.e2e.xds.servers import Seen, echoing, listening
from tests.e2e.xds.settings import apply_runtime, outbound, rule
from tests.oidc import Oidc

LISTED, OTHER = "tool.tools.svc", "elsewhere.tools.svc"
HELPERS, SAME_USER = (1000, 1337), (1000, 1000)


@pytest.fixture
def app(run_pod: Callable[..., PodRunner], node: str) -> PodRunner:
    """A running pod whose app knows a listed and an unlisted host, both at the node."""
    return run_pod(names={LISTED: node, OTHER: node})


@pytest.fixture
def web(node: str) -> Iterator[Seen]:
    """A server of HTTP on the node's address."""
    with echoing(node) as seen:
        yield seen


@pytest.fixture
def raw(node: str) -> Iterator[Seen]:
    """A server on the node's address that notes every connection."""
    with listening(node) as seen:
        yield seen


def deny(api: ApiClient, namespace: str, app: PodRunner, web: Seen) -> None:
    """Sets the policy Deny with one listed host, and returns once it is in force."""
    apply_runtime(api, namespace, outbound(rule(LISTED, action="Passthrough"), policy="Deny"))
    wait_until(lambda: call_out(app, f"http://{OTHER}:{web.port}/").status == 403, 30, lambda: "still not denied")


def reaches(app: PodRunner, server: Seen, url: str, *options: str) -> bool:
    """Whether a connection of the app to that URL arrives at the server, whatever comes of it."""
    before = server.connections
    call_out(app, url, options=("--insecure", "--max-time", "2", *options))
    return server.connections > before


def test_an_unlisted_host_is_answered_403(app: PodRunner, api: ApiClient, namespace: str, web: Seen) -> None:
    """With a sentence that names the way out; a listed host passes, and the policy may be taken back."""
    assert call_out(app, f"http://{OTHER}:{web.port}/").status == 200
    deny(api, namespace, app, web)
    assert "default policy is Deny" in str(call_out(app, f"http://{OTHER}:{web.port}/").body)
    assert call_out(app, f"http://{LISTED}:{web.port}/").status == 200
    apply_runtime(api, namespace, outbound(policy="Passthrough"))
    wait_until(lambda: call_out(app, f"http://{OTHER}:{web.port}/").status == 200, 30, lambda: "still denied")


def test_neither_tls_nor_raw_tcp_gets_out(app: PodRunner, api: ApiClient, namespace: str, web: Seen, raw: Seen) -> None:
    """Before, both arrive; under Deny nothing is even dialled, and a listed server name reaches no other address."""
    tls, telnet = f"https://{OTHER}:{raw.port}/", f"telnet://{OTHER}:{raw.port}"
    assert reaches(app, raw, tls)
    assert reaches(app, raw, telnet)
    deny(api, namespace, app, web)
    assert not reaches(app, raw, tls)
    assert not reaches(app, raw, telnet)
    assert not reaches(app, raw, f"https://{raw.address}:{raw.port}/"), "TLS without a server name"
    with listening(app.network.host4) as thief:
        forged = ("--resolve", f"{LISTED}:{thief.port}:{thief.address}")
        assert not reaches(app, thief, f"https://{LISTED}:{thief.port}/", *forged)
    assert reaches(app, raw, f"https://{LISTED}:{raw.port}/"), "a listed host is closed too"


def test_our_helpers_always_reach_the_identity_provider(
    app: PodRunner, api: ApiClient, namespace: str, web: Seen, idp: Oidc
) -> None:
    """By their user and group together; what runs as only one of them is an app like any other."""
    deny(api, namespace, app, web)
    url = f"http://{OTHER}:{web.port}/"
    assert call_out(app, url, user=HELPERS).status == 200
    assert call_out(app, idp.jwks_url, user=HELPERS).body == idp.jwks()
    for user in (SAME_USER, (10001, HELPERS[1])):
        assert call_out(app, url, user=user).status == 403

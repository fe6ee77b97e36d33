"""The server on loopback: who is let in, what reaches whom, and how streams end."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3 import discovery_pb2

from kagenti import errors, tls
from kagenti.core import ads
from kagenti.core.ads import CLUSTER, EXTENSION, ROUTE
from tests.component.xds.serving import Pod, Serving, serving, snapshot
from tests.unit.webhook.conftest import NOW, make_authority
from tests.unit.xds.waiting import eventually
from tests.xds_client import METHODS, Client

KINDS = pytest.mark.parametrize("kind", ["delta", "sotw"])
NAMES = {EXTENSION: ("jwt",), ROUTE: ("inbound",)}


@pytest.fixture
async def served() -> AsyncIterator[Serving]:
    async with serving() as found:
        yield found


@pytest.fixture
async def channel(served: Serving) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(served.target) as found:
        yield found


def client(kind: ads.Kind = "delta", **fields: str) -> Client:
    return Client(kind, names=NAMES, **fields)  # type: ignore[arg-type]  # a test's shorthand


async def connected(served: Serving, channel: grpc.aio.Channel, kind: ads.Kind = "delta") -> Client:
    found = client(kind)
    found.open(channel)
    await eventually(lambda: served.diary.verdict == "propagated")
    return found


@KINDS
async def test_a_client_gets_its_snapshot_and_each_change_of_it(
    served: Serving, channel: grpc.aio.Channel, kind: ads.Kind
) -> None:
    envoy = await connected(served, channel, kind)
    assert (envoy.replies, envoy.resources) == (3, 3)
    served.shelf.publish(snapshot("2"))
    await envoy.until(lambda: envoy.replies == 4)
    assert envoy.held[ROUTE]["inbound"][1] == snapshot("2").resources[ROUTE]["inbound"].payload
    await eventually(lambda: served.diary.states[-1][1].revision == snapshot("2").revision)
    await eventually(lambda: served.diary.verdict == "propagated")


@KINDS
async def test_a_refusal_is_reported_and_what_was_held_stays(
    served: Serving, channel: grpc.aio.Channel, kind: ads.Kind
) -> None:
    envoy = await connected(served, channel, kind)
    envoy.judge = lambda type_url, name, payload: f"{name} is\nbad" if type_url == ROUTE else ""
    served.shelf.publish(snapshot("2"))
    await eventually(lambda: served.diary.verdict == "rejected")
    ((type_url, rejection),) = served.diary.states[-1][1].rejected
    assert (type_url, rejection.name, rejection.message) == (ROUTE, "inbound", "inbound is bad")
    assert envoy.held[ROUTE]["inbound"][1] == snapshot().resources[ROUTE]["inbound"].payload


async def test_a_pod_gets_its_own_snapshot_whatever_it_says_of_itself(
    served: Serving, channel: grpc.aio.Channel
) -> None:
    served.doorman.pods["other"] = Pod("team2/other-0/uid-1")
    served.shelf.own["team2/other-0/uid-1"] = snapshot("for team2")
    envoy = client(node_id="auth-proxy")  # what the AuthBridge image says in every pod
    envoy.open(channel, "other")
    await envoy.until(lambda: "inbound" in envoy.held[ROUTE])
    assert b"for team2" in envoy.held[ROUTE]["inbound"][1]
    (connection,) = served.diary.opens
    assert (connection.node.id, dict(connection.node.metadata)) == ("auth-proxy", {"kagenti.io/layout": 1.0})


@pytest.mark.parametrize(
    ("token", "node", "message"),
    [
        ("", "team1/weather-0/uid-0", "no bearer token was given; mount the projected token"),
        ("stolen", "team1/weather-0/uid-0", "the token is not one of this cluster"),
        (
            "a-token",
            "team2/other-0/uid-1",
            'node id "team2/other-0/uid-1" is not that of the pod whose token was given ("team1/weather-0/uid-0"); '
            "leave --service-node as it was injected",
        ),
    ],
)
async def test_who_is_not_who_it_says_is_turned_away_with_a_reason(
    served: Serving, channel: grpc.aio.Channel, token: str, node: str, message: str
) -> None:
    assert await client(node_id=node).refusal(channel, token) == (grpc.StatusCode.UNAUTHENTICATED, message)
    assert set(served.diary.refusals) == {message}
    assert served.diary.opens == []


async def test_a_second_authorization_header_is_refused(served: Serving, channel: grpc.aio.Channel) -> None:
    metadata = (("authorization", "Bearer stolen"), ("authorization", "Bearer a-token"))
    call = channel.stream_stream(METHODS["delta"])(metadata=metadata)
    assert await call.code() == grpc.StatusCode.UNAUTHENTICATED
    assert await call.details() == "more than one authorization header was given; give one"


async def test_a_server_that_cannot_tell_asks_the_client_to_come_again(
    served: Serving, channel: grpc.aio.Channel
) -> None:
    served.doorman.away = True
    status = await client().refusal(channel, "a-token")
    assert status == (grpc.StatusCode.UNAVAILABLE, "the API server gives no answer")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"\xff\xff", "this is no DeltaDiscoveryRequest: "),
        (
            discovery_pb2.DeltaDiscoveryRequest(
                type_url=CLUSTER, resource_names_subscribe=map(str, range(10_001))
            ).SerializeToString(),
            f"10001 names of {CLUSTER} on one stream, at most 10000 are served",
        ),
    ],
)
async def test_a_client_that_leaves_the_protocol_is_told_so(
    served: Serving, channel: grpc.aio.Channel, raw: bytes, message: str
) -> None:
    call = channel.stream_stream(METHODS["delta"])(metadata=(("authorization", "Bearer a-token"),))
    await call.write(raw)
    assert await call.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = await call.details()
    assert details.startswith(message)
    assert [*served.diary.refusals, *(reason for _, reason in served.diary.ends)] == [details]


async def test_a_client_that_wants_nothing_is_sent_away() -> None:
    async with serving(first_request=0.05) as served, grpc.aio.insecure_channel(served.target) as channel:
        call = channel.stream_stream(METHODS["delta"])(metadata=(("authorization", "Bearer a-token"),))
        assert await call.code() == grpc.StatusCode.DEADLINE_EXCEEDED


@KINDS
async def test_a_stream_ends_before_its_token_and_resumes_without_a_byte_of_configuration(
    served: Serving, channel: grpc.aio.Channel, kind: ads.Kind
) -> None:
    served.doorman.pods["old"] = Pod(expires_at=time.time() + 0.2)
    envoy = client(kind)
    envoy.open(channel, "old")
    assert (await envoy.ended())[0] == grpc.StatusCode.OK
    assert served.diary.ends == [(1, "the token expires")]
    envoy.open(channel)
    await eventually(lambda: served.diary.states[-1][0] == 2 and served.diary.verdict == "propagated")
    assert envoy.replies == 0


async def test_a_pod_has_one_stream_and_the_newest_wins(served: Serving, channel: grpc.aio.Channel) -> None:
    """After a reset the old stream may linger on this side."""
    older = await connected(served, channel)
    newer = client()
    newer.open(channel)
    assert (await older.ended())[0] == grpc.StatusCode.OK
    await newer.until(lambda: newer.replies == 3)
    assert [found.connection.number for found in served.server.conversations] == [2]
    assert len(served.shelf.views) == 1


async def test_a_client_that_hangs_up_leaves_nothing_behind(served: Serving, channel: grpc.aio.Channel) -> None:
    envoy = await connected(served, channel)
    await envoy.close()
    await eventually(lambda: served.diary.ends == [(1, "the client hung up")])
    assert len(served.server.conversations) == 0
    assert served.shelf.views == []


async def test_a_client_that_does_not_read_gets_the_newest_once_it_does(
    served: Serving, channel: grpc.aio.Channel
) -> None:
    """Nothing piles up for it here: what it missed is never sent."""
    call = channel.stream_stream(METHODS["delta"])(metadata=(("authorization", "Bearer a-token"),))
    request = discovery_pb2.DeltaDiscoveryRequest
    await call.write(request(type_url=CLUSTER).SerializeToString())
    await call.write(request(type_url=ROUTE, resource_names_subscribe=["inbound"]).SerializeToString())
    await eventually(lambda: served.diary.opens)
    for number in range(40):
        served.shelf.publish(snapshot(f"{number}|", size=1_000_000))
        await asyncio.sleep(0)  # the turn in which it is pushed
    newest = snapshot("39|", size=1_000_000).resources[ROUTE]["inbound"].payload
    count, payload = 0, b""
    while payload != newest:
        reply = discovery_pb2.DeltaDiscoveryResponse.FromString(await asyncio.wait_for(call.read(), 10))
        count, payload = count + 1, reply.resources[0].resource.value
    assert count < 20


async def test_a_push_that_fails_ends_its_own_stream_only(served: Serving, channel: grpc.aio.Channel) -> None:
    served.doorman.pods["other"] = Pod("team2/other-0/uid-1")
    envoy = await connected(served, channel)
    other = client(node_id="team2/other-0/uid-1")
    other.open(channel, "other")
    await other.until(lambda: other.replies == 3)
    reports: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    served.shelf.views[0].broken = True
    served.shelf.publish(snapshot("2"))
    await envoy.ended()
    await other.until(lambda: other.replies == 4)
    assert served.diary.ends == [(1, "a push failed")]
    assert [report["message"] for report in reports] == ["a push to an Envoy failed"]


async def test_a_server_that_stops_ends_its_streams_in_good_order() -> None:
    async with serving() as served, grpc.aio.insecure_channel(served.target) as channel:
        envoy = await connected(served, channel)
        await served.server.stop(0.1)
        assert (await envoy.ended())[0] == grpc.StatusCode.OK
        assert served.diary.ends == [(1, "the server is shutting down")]


async def test_a_port_that_is_taken_is_said(served: Serving) -> None:
    with pytest.raises(errors.UsageError, match=f"cannot listen on 127.0.0.1:{served.server.port}: "):
        async with serving(port=served.server.port):
            pass


async def test_tls_shows_the_pair_of_its_files_and_the_next_one_to_new_connections(tmp_path: Path) -> None:
    authority = make_authority()
    first, second = authority.issue(), authority.issue()
    certificates = tls.Certificates(tls.Files(*first.write(tmp_path)), report=lambda fault: None, now=lambda: NOW)
    async with serving(certificates) as served:
        assert await _shown(served.server.port, authority.pem) == ssl.PEM_cert_to_DER_cert(first.certificate.decode())
        credentials = grpc.ssl_channel_credentials(authority.pem)
        async with grpc.aio.secure_channel(f"localhost:{served.server.port}", credentials) as channel:
            envoy = await connected(served, channel)
            second.write(tmp_path)
            assert certificates.reload()
            assert await _shown(served.server.port, authority.pem) == ssl.PEM_cert_to_DER_cert(
                second.certificate.decode()
            )
            served.shelf.publish(snapshot("2"))
            await envoy.until(lambda: envoy.replies == 4)


async def _shown(port: int, ca: bytes) -> bytes:
    """Returns the leaf (DER) that a new connection is shown."""
    context = ssl.create_default_context(cadata=ca.decode())
    context.set_alpn_protocols(["h2"])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    found: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return found

"""The ADS server: gRPC, TLS that follows its files, who may talk, and pushes in slices; knows no settings.

Delta and state of the world on one port, as raw bytes: responses of equal content are one object for all streams. Every
stream has proved its pod, and ends before the proof does (facts §5, §7).
"""

import asyncio
import itertools
import random
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
import grpc.aio

from kagenti import errors, tls
from kagenti.core import ads
from kagenti.xds import envelopes
from kagenti.xds.conversation import Conversation
from kagenti.xds.pump import Pump
from kagenti.xds.session import Authenticator, Connection, Identity, Node, Observer, Refused, Snapshots

_SERVICE: Final = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_MIB: Final = 1024 * 1024
_STATUS: Final[Mapping[type[Exception], grpc.StatusCode]] = {
    Refused: grpc.StatusCode.UNAUTHENTICATED,
    ads.Violation: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ClusterError: grpc.StatusCode.UNAVAILABLE,
    TimeoutError: grpc.StatusCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class Options:
    """Limits of one server; times in seconds, sizes in bytes.

    ``max_pending`` is the number of calls that may wait to be taken on: by default gRPC sheds a connect storm beyond
    some 3,000 (facts §5). ``max_age``, which gRPC varies by a tenth, moves clients between replicas: a connection takes
    no new stream after it and is cut ``age_grace`` later. Streams end up to ``expiry_jitter`` before their tokens.
    ``first_request`` is how long a client may take to say what it wants. ``max_request``: a first request has 61 KB,
    a thousand versions that a client holds are some 100 KB more.
    """

    host: str = "0.0.0.0"  # noqa: S104  # a Service sends to the pod's address, which is not known here
    port: int = 15010
    max_pending: int = 20_000
    max_age: float = 1800.0
    age_grace: float = 30.0
    expiry_jitter: float = 60.0
    first_request: float = 30.0
    max_request: int = _MIB
    max_reply: int = 32 * _MIB
    keepalive: float = 30.0
    keepalive_timeout: float = 10.0


class Server:
    """One listening port and the conversations on it.

    Args:
        authenticator: Who a stream is.
        snapshots: What it is given.
        observer: Who wants to know.
        certificates: The pair for TLS, whoever watches its files; None serves plaintext, for tests and benches only.
        options: Limits.
        now: The clock that tokens expire by, seconds since the epoch.
    """

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        snapshots: Snapshots,
        observer: Observer,
        certificates: tls.Certificates | None,
        options: Options,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._authenticator = authenticator
        self._snapshots = snapshots
        self._observer = observer
        self._certificates = certificates
        self._options = options
        self._now = now
        self._numbers = itertools.count(1)
        self._by_node: dict[str, Conversation] = {}
        self._pump: Final = Pump()
        self._server: grpc.aio.Server | None = None  # kept: a collected server closes its port (facts §0)
        self.port = 0

    @property
    def conversations(self) -> Collection[Conversation]:
        """The streams that are open now, one for each pod."""
        return self._by_node.values()

    async def start(self) -> None:
        """Listens; ``port`` says where.

        Raises:
            errors.InputError: The address cannot be listened on.
        """
        self._server = grpc.aio.server(options=_channel_arguments(self._options))
        self._server.add_generic_rpc_handlers((_handler(self._delta, self._sotw),))
        address = f"{self._options.host}:{self._options.port}"
        try:
            if self._certificates is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, _credentials(self._certificates))
            await self._server.start()
        except RuntimeError as error:
            raise errors.UsageError(f"cannot listen on {address}: {error}; is another process there?") from error

    async def run(self) -> None:
        """Pushes new snapshots to the streams that they concern, until cancelled."""
        await self._pump.run()

    async def stop(self, grace: float) -> None:
        """Takes no new streams and ends the open ones, spread over ``grace`` seconds: others take them on."""
        loop = asyncio.get_running_loop()
        for conversation in list(self._by_node.values()):
            loop.call_later(random.uniform(0, grace * 0.8), conversation.end, "the server is shutting down")
        if self._server is not None:
            await self._server.stop(grace)

    async def _delta(self, _: object, context: grpc.aio.ServicerContext) -> None:
        await self._serve("delta", context)

    async def _sotw(self, _: object, context: grpc.aio.ServicerContext) -> None:
        await self._serve("sotw", context)

    async def _serve(self, kind: ads.Kind, context: grpc.aio.ServicerContext) -> None:
        """Serves one stream; whatever is wrong with it becomes its status, with a message that names it."""
        conversation = None
        try:
            conversation = await self._open(kind, context)
            if conversation is not None:
                await self._converse(conversation)
            return
        except tuple(_STATUS) as error:
            fault = error
        message = str(fault) or "no request came in time"
        if conversation is None:
            self._observer.refused(context.peer(), message)
        await context.abort(next(code for class_, code in _STATUS.items() if isinstance(fault, class_)), message)

    async def _open(self, kind: ads.Kind, context: grpc.aio.ServicerContext) -> Conversation | None:
        """Returns the conversation of a client that may talk; None for one that hung up before it said anything.

        A frame of its own, so that the 61 KB of a first request do not live as long as their stream.
        """
        identity = await self._authenticator.authenticate(_authorization(context), context.peer())
        async with asyncio.timeout(self._options.first_request):
            raw = await context.read()
        if raw is grpc.aio.EOF:
            return None
        request, node = envelopes.decode(kind, raw)
        node = node or Node("", "", {})
        _check_node(node, identity)
        connection = Connection(next(self._numbers), identity, node, kind, context.peer())
        return Conversation(connection, context, first=request, observer=self._observer)

    async def _converse(self, conversation: Conversation) -> None:
        connection, loop = conversation.connection, asyncio.get_running_loop()
        identity = connection.identity
        subscription = self._snapshots.subscribe(identity, lambda: self._pump.mark(conversation))
        conversation.subscription = subscription
        expiry = loop.call_later(self._lifetime(identity), conversation.end, "the token expires")
        self._observer.opened(connection)
        if (older := self._by_node.get(identity.node_id)) is not None:
            older.end("the pod has opened another stream")
        self._by_node[identity.node_id] = conversation
        try:
            await conversation.run()
        finally:
            expiry.cancel()
            subscription.close()
            if self._by_node.get(identity.node_id) is conversation:
                del self._by_node[identity.node_id]
            self._observer.closed(connection, conversation.reason or "the client hung up")

    def _lifetime(self, identity: Identity) -> float:
        """Returns the seconds until a stream ends: before its token, and not with all those of the same minute."""
        left = max(0.0, identity.expires_at - self._now())
        return left - random.uniform(0, min(self._options.expiry_jitter, left / 2))


def _check_node(node: Node, identity: Identity) -> None:
    """Raises Refused for the id of another pod; any other text is display only (AuthBridge's says ``auth-proxy``)."""
    if node.id.count("/") == identity.node_id.count("/") and node.id != identity.node_id:
        raise Refused(
            f'node id "{node.id}" is not that of the pod whose token was given ("{identity.node_id}"); '
            "leave --service-node as it was injected"
        )


def _authorization(context: grpc.aio.ServicerContext) -> str:
    found = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    if len(found) > 1:
        raise Refused("more than one authorization header was given; give one")
    return str(found[0]) if found else ""


def _handler(delta: Callable[..., object], sotw: Callable[..., object]) -> grpc.GenericRpcHandler:
    """Returns the service without generated code: no serializers means bytes in, bytes out."""
    methods = {
        "DeltaAggregatedResources": grpc.stream_stream_rpc_method_handler(delta),
        "StreamAggregatedResources": grpc.stream_stream_rpc_method_handler(sotw),
    }
    return grpc.method_handlers_generic_handler(_SERVICE, methods)


def _credentials(certificates: tls.Certificates) -> grpc.ServerCredentials:
    """Returns credentials that ask for the pair at each handshake; gRPC does so from threads of its own."""
    served = certificates.pair

    def changed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal served
        pair = certificates.pair
        if pair is served:
            return None
        served = pair
        return _configuration(pair)

    return grpc.dynamic_ssl_server_credentials(_configuration(served), changed, require_client_authentication=False)


def _configuration(pair: tls.Pair) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pair.key, pair.certificate)])


def _channel_arguments(options: Options) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),  # a second process on the port must fail, not share it
        ("grpc.server.max_pending_requests", options.max_pending),
        ("grpc.server.max_pending_requests_hard_limit", options.max_pending),
        ("grpc.max_connection_age_ms", int(options.max_age * 1000)),
        ("grpc.max_connection_age_grace_ms", int(options.age_grace * 1000)),
        ("grpc.max_concurrent_streams", 8),  # Envoy opens one; when it reconnects the old one may linger
        ("grpc.max_receive_message_length", options.max_request),
        ("grpc.max_send_message_length", options.max_reply),
        ("grpc.max_metadata_size", 32 * 1024),
        ("grpc.absolute_max_metadata_size", 32 * 1024),
        ("grpc.keepalive_time_ms", int(options.keepalive * 1000)),
        ("grpc.keepalive_timeout_ms", int(options.keepalive_timeout * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5000),  # Envoy pings every 30 s (facts §1)
    ]

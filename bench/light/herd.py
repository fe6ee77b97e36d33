"""Thousands of light Envoys in one process: ``python -m bench.light.herd``, commands on stdin, answers on stdout.

A line in is a JSON object, and each is answered by one. ``connect`` opens all streams at one instant and answers when all
are complete; ``arm`` is answered at once, and once more when every stream has acknowledged a reply that holds the marker;
``sample`` gives the replies of one stream. Lost streams come again after Envoy's back-off. All times are of the
monotonic clock, which is the same in every process of a machine.
"""

import heapq
import itertools
import os
import random
import select
import socket
import ssl
import time
from typing import Any, Final

import orjson

from bench.child import answer
from bench.light.envoy import PATH, LightEnvoy, read
from bench.light.http2 import Call

JSON = Any  # commands and answers

QUIET: Final = 0.1  # seconds without a reply after which a change is over
_BASE, _MOST = 0.2, 5.0  # seconds of back-off, as in our bootstrap (core/envoy/bootstrap.py)
_CHUNK: Final = 65_536
_LATER: Final = (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError)


class Stream:
    """One proxy's connection: opens, talks, and remembers when it last acknowledged what is waited for."""

    __slots__ = ("_call", "_herd", "_token", "_unsent", "attempts", "envoy", "last", "live", "replies", "seen", "sock")

    def __init__(self, herd: "Herd", node_id: str, token: str) -> None:
        self._herd, self._token = herd, token
        self.envoy = LightEnvoy(node_id)
        self.sock: socket.socket | None = None
        self.attempts = self.replies = 0
        self.last, self.seen, self.live = 0.0, False, False

    def open(self) -> None:
        """Begins to connect."""
        self.sock = socket.socket()
        self.sock.setblocking(False)  # noqa: FBT003  # its only argument, by position alone
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect_ex(self._herd.address)
        self.live, self._unsent = False, b""
        metadata = {"authorization": f"Bearer {self._token}"} if self._token else {}
        self._call = Call(PATH, metadata)

    def act(self) -> None:
        """Does what the socket is ready for; a stream that is over comes again later."""
        try:
            if not self.live and not self._shake():
                return
            self._flush()
            self._read()
        except OSError:  # ssl.SSLError is one
            self._lose()
            return
        if self._call.ended:
            self._lose()

    def send(self, *messages: bytes) -> None:
        """Sends messages, now or when the socket takes them."""
        self._unsent += b"".join(self._call.send(message) for message in messages)
        self._flush()

    def close(self) -> None:
        """Hangs up."""
        if self.sock is not None:
            self._herd.forget(self.sock)
            self.sock.close()
            self.sock = None

    def _shake(self) -> bool:
        """Connects, and shakes hands where the herd speaks TLS; returns whether that is done."""
        assert self.sock is not None
        if refused := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(refused, os.strerror(refused))
        if (context := self._herd.context) is not None:
            if not isinstance(self.sock, ssl.SSLSocket):
                self.sock = context.wrap_socket(self.sock, server_hostname="localhost", do_handshake_on_connect=False)
            try:
                self.sock.do_handshake()
            except _LATER as error:
                self._herd.watch(self, writing=isinstance(error, ssl.SSLWantWriteError))
                return False
        self.live = True
        self._unsent = self._call.start()
        self.send(*self.envoy.first())
        return True

    def _flush(self) -> None:
        if not self._unsent:
            return
        assert self.sock is not None
        try:
            while self._unsent:
                self._unsent = self._unsent[self.sock.send(self._unsent) :]
        except _LATER:
            pass
        self._herd.watch(self, writing=bool(self._unsent))

    def _read(self) -> None:
        assert self.sock is not None
        while True:
            try:
                data = self.sock.recv(_CHUNK)
            except _LATER:
                return
            if not data:
                raise ConnectionResetError
            self._herd.received += len(data)
            messages, answers = self._call.receive(data)
            self._unsent += answers
            for raw in messages:
                self._take(raw)
            self._flush()

    def _take(self, raw: bytes) -> None:
        self.send(*self.envoy.take(read(raw)))
        self.attempts = 0
        self._herd.replied(self, raw)

    def _lose(self) -> None:
        self.close()
        self.attempts += 1
        self._herd.later(self, random.uniform(0, min(_MOST, _BASE * 2.0 ** (self.attempts - 1))))


class Herd:
    """The streams of one process, and what is waited for."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._epoll.register(0, select.EPOLLIN)
        self._streams: list[Stream] = []
        self._by_fd: dict[int, tuple[Stream, bool]] = {}
        self._again: list[tuple[float, int, Stream]] = []
        self._number = itertools.count()
        self._commands = b""
        self._marker = b""
        self._waiting = ""
        self._missing = 0
        self._until = self._newest = 0.0
        self._kept: list[bytes] = []
        self.address = ("127.0.0.1", 0)
        self.context: ssl.SSLContext | None = None
        self.received = self.losses = 0

    def run(self) -> None:
        """Serves commands until stdin ends."""
        while True:
            for fd, _ in self._epoll.poll(self._patience()):
                if fd == 0:
                    if not self._listen():
                        return
                elif fd in self._by_fd:
                    self._by_fd[fd][0].act()
            self._reopen()
            self._conclude()

    def watch(self, stream: Stream, *, writing: bool) -> None:
        """Has the stream told when its socket can be read, and written to if that is wanted."""
        assert stream.sock is not None
        fd = stream.sock.fileno()
        known = self._by_fd.get(fd)
        if known is not None and known[1] == writing:
            return
        events = select.EPOLLIN | (select.EPOLLOUT if writing else 0)
        (self._epoll.register if known is None else self._epoll.modify)(fd, events)
        self._by_fd[fd] = stream, writing

    def forget(self, sock: socket.socket) -> None:
        """Watches a socket no longer."""
        if self._by_fd.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def later(self, stream: Stream, seconds: float) -> None:
        """Opens a stream anew after that time."""
        self.losses += 1
        heapq.heappush(self._again, (time.monotonic() + seconds, next(self._number), stream))

    def replied(self, stream: Stream, raw: bytes) -> None:
        """Notes that a stream has acknowledged a reply."""
        self._newest = time.monotonic()
        stream.replies += 1
        if stream is self._streams[0]:
            self._kept.append(raw)
        if not stream.seen and (self._marker in raw if self._marker else stream.envoy.complete):
            stream.seen = True
            self._missing -= 1
        if stream.seen:
            stream.last = self._newest

    def _patience(self) -> float:
        now, moments = time.monotonic(), [self._until] if self._waiting else []
        if self._waiting and not self._missing:
            moments.append(self._newest + QUIET)
        if self._again:
            moments.append(self._again[0][0])
        return max(0.0, min(moments) - now) if moments else -1

    def _listen(self) -> bool:
        chunk = os.read(0, 1 << 20)
        *lines, self._commands = (self._commands + chunk).split(b"\n")
        for line in lines:
            self._do(orjson.loads(line))
        return bool(chunk)

    def _do(self, command: JSON) -> None:
        match command["do"]:
            case "connect":
                self._connect(command)
            case "arm":
                self._await("armed", command["marker"].encode(), command["seconds"])
                answer({"armed": True})
            case "sample":
                answer({"replies": [raw.hex() for raw in self._kept]})
                self._kept = []
            case "count":
                answer({"received": self.received, "losses": self.losses})

    def _connect(self, command: JSON) -> None:
        self.address = "127.0.0.1", command["port"]
        if command["authority"]:
            self.context = ssl.create_default_context(cadata=command["authority"])
            self.context.set_alpn_protocols(["h2"])
        self._streams = [Stream(self, node, token) for node, token in command["clients"]]
        self._kept = []
        self._await("connected", b"", command["seconds"])
        for stream in self._streams:
            stream.open()
            self.watch(stream, writing=True)

    def _reopen(self) -> None:
        while self._again and self._again[0][0] <= time.monotonic():
            stream = heapq.heappop(self._again)[2]
            stream.open()
            self.watch(stream, writing=True)

    def _await(self, what: str, marker: bytes, seconds: float) -> None:
        self._waiting, self._marker, self._missing = what, marker, len(self._streams)
        self._newest = time.monotonic()
        self._until = self._newest + seconds
        for stream in self._streams:
            stream.seen, stream.replies, stream.last = False, 0, 0.0

    def _conclude(self) -> None:
        now = time.monotonic()
        over = not self._missing and now >= self._newest + QUIET
        if not self._waiting or not (over or now >= self._until):
            return
        done = [stream.last for stream in self._streams if stream.seen]
        replies = sum(stream.replies for stream in self._streams)
        self._waiting = ""
        answer({"done": done, "missing": self._missing, "replies": replies, "losses": self.losses})


if __name__ == "__main__":
    Herd().run()

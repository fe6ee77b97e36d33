"""One gRPC call over HTTP/2, no more of it than a load generator needs (RFC 9113; gRPC's "PROTOCOL-HTTP2").

Bytes in, messages out, no I/O. Header blocks are written as literals, which costs no table (RFC 7541 section 6.2.2), and
those that come are not read: a call that ends has failed, whatever its status says.
"""

from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
_END_STREAM = _ACK = 0x1
_END_HEADERS: Final = 0x4
_HEAD: Final = 9  # bytes before a frame's payload
_FRAME: Final = 16_384  # the largest payload that every peer takes
_INITIAL_WINDOW_SIZE: Final = 4  # identifier of the setting
_WINDOW_SIZE: Final = 65_535  # bytes that each side may send before it hears otherwise
_ROOM: Final = 2**31 - 1  # what we let the server send: more than a bench ever makes
_STREAM: Final = 1


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def _literal(text: bytes) -> bytes:
    """A string as HPACK has it, not Huffman-coded: length with a prefix of seven bits, then the bytes."""
    length = len(text)
    if length < 127:  # fits the prefix
        return bytes((length,)) + text
    rest, head = length - 127, bytearray((127,))
    while rest >= 128:
        head.append(rest % 128 + 128)
        rest //= 128
    head.append(rest)
    return bytes(head) + text


class Call:
    """One connection with one call on it; ``ended`` once the server has closed either."""

    def __init__(self, path: str, metadata: dict[str, str]) -> None:
        self._headers = {
            ":method": "POST",
            ":scheme": "https",
            ":path": path,
            ":authority": "localhost",
            "content-type": "application/grpc",
            "te": "trailers",
            **metadata,
        }
        self._frames, self._messages = bytearray(), bytearray()
        self._connection = self._stream = _WINDOW_SIZE
        self.ended = False

    def start(self) -> bytes:
        """Returns what opens connection and call."""
        settings = _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _ROOM.to_bytes(4, "big")
        block = b"".join(
            b"\0" + _literal(key.encode()) + _literal(text.encode()) for key, text in self._headers.items()
        )
        return b"".join(
            (
                _PREFACE,
                _frame(_SETTINGS, 0, 0, settings),
                _frame(_WINDOW, 0, 0, (_ROOM - _WINDOW_SIZE).to_bytes(4, "big")),
                _frame(_HEADERS, _END_HEADERS, _STREAM, block),
            )
        )

    def send(self, message: bytes) -> bytes:
        """Returns a message as frames; raises RuntimeError where the server has given no room for it."""
        payload = b"\0" + len(message).to_bytes(4, "big") + message
        self._connection -= len(payload)
        self._stream -= len(payload)
        if min(self._connection, self._stream) < 0:
            raise RuntimeError("the server takes less than a first request before it answers")
        parts = (payload[start : start + _FRAME] for start in range(0, len(payload), _FRAME))
        return b"".join(_frame(_DATA, 0, _STREAM, part) for part in parts)

    def receive(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Takes bytes; returns the messages that are complete, and what must be sent in answer."""
        frames, answers, position = self._frames, b"", 0
        frames += data
        while len(frames) - position >= _HEAD:
            end = position + _HEAD + int.from_bytes(frames[position : position + 3], "big")
            if end > len(frames):
                break
            kind, flags = frames[position + 3], frames[position + 4]
            stream = int.from_bytes(frames[position + 5 : position + 9], "big")
            answers += self._take(kind, flags, stream, bytes(frames[position + _HEAD : end]))
            position = end
        del frames[:position]
        return self._complete(), answers

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        match kind:
            case 0:
                self._messages += payload
            case 4 if not flags & _ACK:
                self._settle(payload)
                return _frame(_SETTINGS, _ACK, 0, b"")
            case 6 if not flags & _ACK:
                return _frame(_PING, _ACK, 0, payload)
            case 8:
                self._widen(stream, int.from_bytes(payload, "big"))
        self.ended = self.ended or kind in (_RESET, _GOAWAY) or bool(kind in (_DATA, _HEADERS) and flags & _END_STREAM)
        return b""

    def _settle(self, payload: bytes) -> None:
        for start in range(0, len(payload), 6):
            if int.from_bytes(payload[start : start + 2], "big") == _INITIAL_WINDOW_SIZE:
                self._stream += int.from_bytes(payload[start + 2 : start + 6], "big") - _WINDOW_SIZE

    def _widen(self, stream: int, by: int) -> None:
        if stream:
            self._stream += by
        else:
            self._connection += by

    def _complete(self) -> list[bytes]:
        """Takes the whole messages: each has five bytes before it, a flag and its length."""
        found, messages = [], self._messages
        while len(messages) >= 5 and len(messages) - 5 >= (length := int.from_bytes(messages[1:5], "big")):
            found.append(bytes(messages[5 : 5 + length]))
            del messages[: 5 + length]
        return found

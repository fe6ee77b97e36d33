"""Key sets of identity providers: what of a fetched document proxies may use, and from where it may be fetched.

The document comes from a server that a namespace may name, so nothing of it is believed or quoted: only the public
members of well-formed signing keys pass (RFC 7517, RFC 7518 section 6), and symmetric keys never do.
"""

import base64
import binascii
import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import orjson

from kagenti.core.settings import canonical
from kagenti.core.untrusted import Refused, forbidden, literal

JSON = Any  # a key set as fetched

MOST_BYTES: Final = 256 * 1024
"""Bytes of a document (spec 05)."""
NO_KEYS: Final = (
    '{"keys":[{"alg":"ES256","crv":"P-256","kid":"kagenti-nobody","kty":"EC","use":"sig",'
    '"x":"JJ9EE0lNQWj1enSVUc-fJGDro_vb4lVYHt6SmDGEEEA","y":"XYpss5_mHC0iXtHgFFdhTpM5aGoW2S80XqfnFFhhCJw"}]}'
)
"""A set that no token verifies against: what proxies get once the last good set is too old.

Envoy refuses an empty set, and would keep the old one. So this is a point whose private key nobody can know: its x is
the SHA-256 of "kagenti: no key is valid 0", its y the smaller root.
"""

# A realm that rotates daily and keeps keys for two weeks has 14; every key is parsed by every Envoy.
_MOST_KEYS: Final = 32
_MOST_TEXT: Final = 256  # characters of a key id
_PORTS: Final = {"http": 80, "https": 443}
_COORDINATES: Final = {"P-256": 32, "P-384": 48, "P-521": 66}  # bytes, RFC 7518 section 6.2.1.2
_ED25519: Final = 32  # bytes, RFC 8037 section 2
_MODULUS: Final = (256, 1024)  # bytes: RFC 7518 section 3.3 wants 2048 bits or more; larger ones are an attack on CPUs
_BASE64URL: Final = re.compile(r"[A-Za-z0-9_-]*={0,2}", re.ASCII)


def clean(document: bytes) -> str:
    """Returns the usable keys of a document as canonical JSON: equal keys give equal text, whatever else it holds.

    Raises:
        Refused: It is too large, no key set, or has no usable key; the message quotes nothing of it.
    """
    if len(document) > MOST_BYTES:
        raise Refused("TooLarge", f"the answer is larger than {MOST_BYTES // 1024} KiB")
    try:
        content = orjson.loads(document)
    except orjson.JSONDecodeError as error:
        raise Refused("NotJson", "the answer is not JSON") from error
    keys = content.get("keys") if isinstance(content, dict) else None
    if not isinstance(keys, list):
        raise Refused("NotAKeySet", 'the answer has no list "keys" (RFC 7517 section 5)')
    if len(keys) > _MOST_KEYS:
        raise Refused("TooManyKeys", f"the answer has more than {_MOST_KEYS} keys")
    usable = [key for key in map(_public, keys) if key is not None]
    if not usable:
        raise Refused("NoUsableKey", "the answer has no public key for signatures (RSA from 2048 bits, EC or Ed25519)")
    return canonical({"keys": usable}).decode()


def location(url: str) -> SplitResult:
    """Returns the parts of a URL that may be asked for keys.

    Raises:
        Refused: Not http(s), no host, a port that is none, credentials, or a host that is an odd spelling of an address.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises for a port that is none
    except ValueError as error:
        raise Refused("BadUrl", "the URL cannot be read") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise Refused("BadUrl", "the URL is not http or https with a host")
    if parts.username is not None or parts.password is not None:
        raise Refused("BadUrl", "the URL carries credentials, which are never sent")
    host = parts.hostname
    if (":" in host or host.replace(".", "").isdigit()) and literal(host) is None:
        raise Refused("BadUrl", "the URL's host is an odd spelling of an address")  # 127.1 is 127.0.0.1 to inet_aton
    return parts


def port_of(parts: SplitResult) -> int:
    """Returns the port of a URL."""
    return parts.port or _PORTS[parts.scheme]


def refuse_address(address: str, port: int, *, api_servers: Collection[tuple[str, int]]) -> None:
    """Judges one address that a host resolved to; private ones are where identity providers of clusters live.

    Args:
        address: The address, without scope id.
        port: The port that would be dialled.
        api_servers: Addresses and ports of the API server.

    Raises:
        Refused: Loopback, link-local, unspecified, multicast, a metadata server, or the API server.
    """
    what = forbidden(address, port, api_servers=api_servers)
    if what:
        raise Refused("ForbiddenAddress", f"the host's address is {what}; {_WAY_OUT}")


_WAY_OUT: Final = "list its origin in policy.identityProviders of the cluster's config if that is meant"


def _public(key: JSON) -> Mapping[str, str] | None:
    """Returns the public members of a signing key, or None for what is none."""
    if not isinstance(key, dict) or key.get("use", "sig") != "sig":
        return None
    members = _members(key)
    if members is None:
        return None
    for name in ("kid", "alg", "use"):
        value = key.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or len(value) > _MOST_TEXT or not value.isprintable():
            return None
        members[name] = value
    return members


def _members(key: Mapping[str, JSON]) -> dict[str, str] | None:
    match key.get("kty"):
        case "RSA":
            modulus = _size(key.get("n"))
            fits = _MODULUS[0] <= modulus <= _MODULUS[1] and 1 <= _size(key.get("e")) <= 8  # bytes of an exponent
            return {"kty": "RSA", "n": key["n"], "e": key["e"]} if fits else None
        case "EC":
            size = _COORDINATES.get(str(key.get("crv")))
            fits = size is not None and _size(key.get("x")) == size == _size(key.get("y"))
            return {"kty": "EC", "crv": key["crv"], "x": key["x"], "y": key["y"]} if fits else None
        case "OKP":
            fits = key.get("crv") == "Ed25519" and _size(key.get("x")) == _ED25519
            return {"kty": "OKP", "crv": "Ed25519", "x": key["x"]} if fits else None
    return None


def _size(value: JSON) -> int:
    """Returns the bytes of a base64url value; 0 for what is none."""
    if not isinstance(value, str) or not _BASE64URL.fullmatch(value):
        return 0
    try:
        return len(base64.urlsafe_b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4)))
    except binascii.Error:
        return 0

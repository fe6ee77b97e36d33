"""Key sets: what passes of a hostile document, and which addresses are never asked for one."""

import base64
import hashlib
import json
from typing import Any

import pytest

from kagenti.core import jwks, untrusted

JSON = Any  # a key set


def _value(size: int) -> str:
    return base64.urlsafe_b64encode(b"\x81" * size).decode().rstrip("=")


RSA: JSON = {"kty": "RSA", "kid": "a", "alg": "RS256", "use": "sig", "n": _value(256), "e": "AQAB"}
EC: JSON = {"kty": "EC", "kid": "b", "crv": "P-256", "x": _value(32), "y": _value(32)}
OKP: JSON = {"kty": "OKP", "kid": "c", "crv": "Ed25519", "x": _value(32)}


def _cleaned(*keys: JSON) -> JSON:
    return json.loads(jwks.clean(json.dumps({"keys": list(keys)}).encode()))["keys"]


def test_public_keys_pass_as_canonical_text() -> None:
    """Order of members and white space do not make another set; certificates and private parts are left out."""
    shown = {**RSA, "x5c": ["MIIC"], "x5t": "t", "d": "private", "p": "private"}
    assert _cleaned(shown, EC, OKP) == [RSA, EC, OKP]
    one, other = json.dumps({"keys": [RSA]}), json.dumps({"extra": 1, "keys": [dict(reversed(RSA.items()))]}, indent=4)
    assert jwks.clean(one.encode()) == jwks.clean(other.encode())


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ({"kty": "oct", "k": "c2VjcmV0"}, "whoever knows a symmetric key could sign with it"),
        ({**RSA, "use": "enc"}, "not for signatures"),
        ({**RSA, "n": _value(128)}, "1024 bits"),
        ({**RSA, "n": _value(2048)}, "a modulus that costs every Envoy dearly"),
        ({**RSA, "n": "not base64!"}, "not base64url"),
        ({**RSA, "n": 7}, "a number"),
        ({**RSA, "e": _value(64)}, "an exponent that costs every Envoy dearly"),
        ({**EC, "crv": "secp256k1"}, "another curve"),
        ({**EC, "y": _value(31)}, "half a coordinate"),
        ({**OKP, "crv": "X25519"}, "not for signatures"),
        ({**RSA, "kid": "a\nb"}, "a line of its own in somebody's log"),
        ({**RSA, "kid": "a" * 300}, "an endless name"),
        ({**RSA, "alg": 5}, "not text"),
        ({"kid": "a"}, "no type"),
        ("key", "not even an object"),
    ],
)
def test_other_keys_do_not(key: JSON, reason: str) -> None:
    """One bad key does not spoil the others, and never reaches an Envoy."""
    assert _cleaned(key, EC) == [EC], reason


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"", "NotJson"),
        (b"<html>", "NotJson"),
        (b'{"keys": [', "NotJson"),
        (b'{"keys": ["\xff\xfe"]}', "NotJson"),
        (b"[]", "NotAKeySet"),
        (b'{"keys": {}}', "NotAKeySet"),
        (b"null", "NotAKeySet"),
        (b'{"keys": []}', "NoUsableKey"),
        (b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "NoUsableKey"),
        (json.dumps({"keys": [EC] * 33}).encode(), "TooManyKeys"),
        (b" " * (256 * 1024 + 1), "TooLarge"),
        (b'{"keys":' + b"[" * 100_000, "NotJson"),
    ],
)
def test_documents_are_refused_without_a_word_of_them(document: bytes, code: str) -> None:
    """The code is bounded, and the message is ours alone: the server may be anything in the cluster."""
    with pytest.raises(untrusted.Refused) as refused:
        jwks.clean(document)
    assert refused.value.code == code
    assert "secret" not in str(refused.value)
    assert "html" not in str(refused.value)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0",  # noqa: S104  # judged, not bound
        "224.0.0.1", "ff02::1", "fd00:ec2::254", "100.100.100.200", "168.63.129.16", "192.0.0.192", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "::169.254.169.254", "::7f00:1",
        "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "10.96.0.1", "::ffff:10.96.0.1",
    ],
)  # fmt: skip
def test_addresses_of_ours_are_refused(address: str) -> None:
    """Loopback, link-local, metadata and the API server, whichever way they are written."""
    with pytest.raises(untrusted.Refused, match=r"policy\.identityProviders") as refused:
        jwks.refuse_address(address, 443, api_servers={("10.96.0.1", 443)})
    assert refused.value.code == "ForbiddenAddress"


@pytest.mark.parametrize(
    ("address", "port", "reason"),
    [
        ("10.0.0.7", 8080, "an identity provider in the cluster"),
        ("fd00::7", 443, "the same with IPv6"),
        ("203.0.113.7", 443, "one on the Internet"),
        ("10.96.0.1", 8443, "the API server's address, but another server's port"),
    ],
)
def test_other_addresses_are_asked(address: str, port: int, reason: str) -> None:
    """Private networks are where clusters live."""
    jwks.refuse_address(address, port, api_servers={("10.96.0.1", 443)})


@pytest.mark.parametrize(
    "url",
    [
        "ftp://idp/certs", "file:///etc/passwd", "http:///certs", "http://user:pass@idp/certs", "http://user@idp/",
        "http://127.1/", "http://2130706433/", "http://[::1/", "http://idp:99999/", "http://idp:x/", "idp/certs", "",
    ],
)  # fmt: skip
def test_urls_are_refused(url: str) -> None:
    """Schemes, credentials, and spellings that a resolver reads another way than we do."""
    with pytest.raises(untrusted.Refused) as refused:
        jwks.location(url)
    assert refused.value.code == "BadUrl"
    assert "pass" not in str(refused.value).replace("passed", "")


def test_nobodys_key_has_no_private_half() -> None:
    """Its x is a hash and its y what the curve makes of it (FIPS 186-4, P-256): nobody chose them."""
    (key,) = json.loads(jwks.NO_KEYS)["keys"]
    x = hashlib.sha256(b"kagenti: no key is valid 0").digest()
    prime = 2**256 - 2**224 + 2**192 + 2**96 - 1
    coefficient = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    square = (pow(int.from_bytes(x), 3, prime) - 3 * int.from_bytes(x) + coefficient) % prime
    root = pow(square, (prime + 1) // 4, prime)
    y = min(root, prime - root).to_bytes(32)
    assert [base64.urlsafe_b64decode(key[name] + "=") for name in "xy"] == [x, y]
    assert jwks.clean(jwks.NO_KEYS.encode()) == jwks.NO_KEYS


@pytest.mark.parametrize(
    ("url", "port"), [("http://idp", 80), ("https://idp", 443), ("http://idp:8080/x", 8080), ("http://[fd00::1]/", 80)]
)
def test_port_of_a_url(url: str, port: int) -> None:
    """The one that is dialled, and judged."""
    assert jwks.port_of(jwks.location(url)) == port

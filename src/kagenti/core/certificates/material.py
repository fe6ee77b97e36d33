"""The two Secrets of one authority → what can be used of them; what cannot is said, and never stops anything.

The keys are those of ``kubernetes.io/tls`` (``tls.crt``, ``tls.key``) and ``ca.crt``, as cert-manager writes them: its
Secrets are taken over as they are, so that a change of ``certificates.mode`` breaks no running proxy's trust.
"""

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kagenti.core.certificates.certificate import Certificate, read

JSON = Any  # a raw Secret

CERTIFICATE: Final = "tls.crt"
KEY: Final = "tls.key"
BUNDLE: Final = "ca.crt"
NEXT_CERTIFICATE: Final = "next.crt"
NEXT_KEY: Final = "next.key"


@dataclass(frozen=True, slots=True)
class Held:
    """What the Secret of the CA and that of the leaf hold.

    ``signing`` is the CA whose key signs, ``successor`` the one that will, ``leaf`` what is served; each None without a
    key that fits. ``anchors`` are the CAs that are published now, ``faults`` says what could not be used.
    """

    signing: Certificate | None = None
    successor: Certificate | None = None
    leaf: Certificate | None = None
    anchors: tuple[Certificate, ...] = ()
    faults: tuple[str, ...] = ()


def held(
    authority: Mapping[str, JSON] | None, leaf: Mapping[str, JSON] | None, *, live: Iterable[Certificate] = ()
) -> Held:
    """Returns what two raw Secrets hold.

    Args:
        authority: The Secret of the CA; None where it does not exist.
        leaf: The Secret of the leaf, with the published CAs in ``ca.crt``; None as above.
        live: CAs that are published elsewhere besides: in a caBundle.
    """
    faults: list[str] = []
    of_authority, of_leaf = _data(authority, faults), _data(leaf, faults)
    return Held(
        signing=_pair(authority, of_authority, CERTIFICATE, KEY, faults, ca=True),
        successor=_pair(authority, of_authority, NEXT_CERTIFICATE, NEXT_KEY, faults, ca=True),
        leaf=_pair(leaf, of_leaf, CERTIFICATE, KEY, faults, ca=False),
        anchors=tuple(dict.fromkeys((*_anchors(leaf, of_leaf, faults), *live))),
        faults=tuple(faults),
    )


def _name(secret: Mapping[str, JSON] | None) -> str:
    return f"Secret {((secret or {}).get('metadata') or {}).get('name', '')}"


def _data(secret: Mapping[str, JSON] | None, faults: list[str]) -> Mapping[str, bytes]:
    found = {}
    for key, text in ((secret or {}).get("data") or {}).items():
        try:
            found[key] = base64.b64decode(text or "", validate=True)
        except (binascii.Error, TypeError, ValueError):
            faults.append(f"{_name(secret)}: {key} is not base64")
    return found


def _pair(
    secret: Mapping[str, JSON] | None, data: Mapping[str, bytes], crt: str, key: str, faults: list[str], *, ca: bool
) -> Certificate | None:
    """Returns the first certificate of ``crt`` if ``key`` is its private key."""
    if not data.get(crt) and not data.get(key):
        return None
    try:
        certificate = read(data.get(crt, b""))[0]
        private = serialization.load_pem_private_key(data.get(key, b""), None)
    except (ValueError, TypeError, IndexError, UnsupportedAlgorithm):
        faults.append(f"{_name(secret)}: {crt} and {key} are not both PEM of a certificate and of its key")
        return None
    if private.public_key() != certificate.parsed.public_key():
        faults.append(f"{_name(secret)}: {key} is not the key of {crt}")
        return None
    if ca and not (_signs(certificate.parsed) and isinstance(private, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)):
        faults.append(f"{_name(secret)}: {crt} is no CA certificate with an EC or RSA key")
        return None
    return certificate


def _signs(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False


def _anchors(
    secret: Mapping[str, JSON] | None, data: Mapping[str, bytes], faults: list[str]
) -> tuple[Certificate, ...]:
    try:
        return read(data.get(BUNDLE, b""))
    except ValueError:
        faults.append(f"{_name(secret)}: {BUNDLE} is not PEM of certificates")
        return ()

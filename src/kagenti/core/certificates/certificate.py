"""One X.509 certificate as far as decisions need it, and whether a chain leads to an authority.

Only signatures, dates and names are compared, as crypto/x509 of the API server does; no policy of the web's CAs.
"""

import datetime
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization


@dataclass(frozen=True, slots=True)
class Certificate:
    """``fingerprint`` is the SHA-256 of the DER in hex; ``names`` are its DNS names, lower case; times are UTC."""

    fingerprint: str
    begins: datetime.datetime = field(compare=False)
    ends: datetime.datetime = field(compare=False)
    names: frozenset[str] = field(compare=False)
    parsed: x509.Certificate = field(compare=False, repr=False)

    def holds(self, now: datetime.datetime) -> bool:
        """Whether ``now`` (aware) is within its dates."""
        return self.begins <= now <= self.ends

    def issued_by(self, issuer: "Certificate") -> bool:
        """Whether that key signed it under that name; dates are not compared."""
        try:
            self.parsed.verify_directly_issued_by(issuer.parsed)
        except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
            return False
        return True

    @property
    def pem(self) -> str:
        """The certificate alone, in PEM."""
        return self.parsed.public_bytes(serialization.Encoding.PEM).decode()


def read(pem: bytes) -> tuple[Certificate, ...]:
    """Returns the certificates of a PEM text, in order, each once; empty for a text that holds none.

    Raises:
        ValueError: A block that says it is a certificate is none.
    """
    if b"-----BEGIN CERTIFICATE-----" not in pem:
        return ()
    found = {certificate.fingerprint: certificate for certificate in map(of, x509.load_pem_x509_certificates(pem))}
    return tuple(found.values())


def of(parsed: x509.Certificate) -> Certificate:
    """Returns a parsed certificate as ours."""
    der = parsed.public_bytes(serialization.Encoding.DER)
    return Certificate(
        fingerprint=hashlib.sha256(der).hexdigest(),
        begins=parsed.not_valid_before_utc,
        ends=parsed.not_valid_after_utc,
        names=frozenset(name.lower() for name in _dns_names(parsed)),
        parsed=parsed,
    )


def pem_of(bundle: Iterable[Certificate]) -> str:
    """Returns a bundle as one PEM text, in the order given."""
    return "".join(certificate.pem for certificate in bundle)


def leads_to(
    certificate: Certificate,
    *,
    roots: Sequence[Certificate],
    between: Sequence[Certificate],
    now: datetime.datetime,
) -> bool:
    """Whether a root of the bundle vouches for a certificate, through others of its chain or directly."""
    if certificate in roots or any(root.holds(now) and certificate.issued_by(root) for root in roots):
        return True
    return any(
        leads_to(issuer, roots=roots, between=[other for other in between if other is not issuer], now=now)
        for issuer in between
        if issuer.holds(now) and certificate.issued_by(issuer)
    )


def _dns_names(parsed: x509.Certificate) -> Iterable[str]:
    try:
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return names.get_values_for_type(x509.DNSName)

"""Makes keys and certificates: ECDSA P-256, as cert-manager's are that the chart asks for. Decides nothing."""

import datetime
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kagenti import errors
from kagenti.core.certificates import BACKDATED

_COMMON_NAME: Final = 64  # characters at most, RFC 5280 appendix A: ub-common-name


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def new_authority(common_name: str, *, life: datetime.timedelta, now: datetime.datetime) -> Pair:
    """Returns a CA that signs itself and leaves, nothing between."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name(common_name)
    builder = (
        _builder(name, name, key, now=now, ends=now + life)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        # By which clients tell two CAs of one name apart (RFC 5280, section 4.2.1.1).
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return _pair(builder.sign(key, hashes.SHA256()), key)


def new_leaf(names: Iterable[str], *, authority: Pair, life: datetime.timedelta, now: datetime.datetime) -> Pair:
    """Returns a server's certificate for DNS names; it ends no later than its CA.

    Raises:
        errors.Defect: The CA's key is none of a kind that signs certificates here (EC or RSA).
    """
    issuer = x509.load_pem_x509_certificates(authority.certificate)[0]
    signer = load_pem_private_key(authority.key, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise errors.Defect(f"the CA's key is a {type(signer).__name__}, want EC or RSA; delete the CA's Secret")
    key, dns = ec.generate_private_key(ec.SECP256R1()), sorted(names, key=len)
    ends = min(now + life, issuer.not_valid_after_utc)
    builder = (
        _builder(_name(dns[0]), issuer.subject, key, now=now, ends=ends)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in dns]), critical=False)
        .add_extension(_issuer_key(issuer), critical=False)
    )
    return _pair(builder.sign(signer, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    *,
    now: datetime.datetime,
    ends: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(ends)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:_COMMON_NAME])])


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=signs, crl_sign=signs, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _issuer_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        of_issuer = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]  # EC or RSA
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(of_issuer)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )

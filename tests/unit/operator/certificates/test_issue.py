"""Certificates as clients meet them: a handshake of OpenSSL, which is stricter than our own reading."""

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256

from kagenti import errors
from kagenti.core.certificates import held
from kagenti.operator.certificates.issue import Pair, new_authority, new_leaf
from tests.unit.operator.certificates.cluster import secret

NOW = datetime.datetime.now(datetime.UTC)
YEAR, DAY = datetime.timedelta(days=365), datetime.timedelta(days=1)
NAMES = ("kagenti-xds.kagenti-system.svc.cluster.local", "kagenti-xds.kagenti-system.svc")


def shakes_hands(leaf: Pair, bundle: bytes, name: str, folder: Path) -> bool:
    """Whether a client that trusts the bundle takes the leaf under that name; in memory, as strict as OpenSSL can be."""
    (folder / "pair.pem").write_bytes(leaf.certificate + leaf.key)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "pair.pem")
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    client.load_verify_locations(cadata=bundle.decode())
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(back, there, server_hostname=name), server.wrap_bio(there, back, server_side=True)]
    for _ in range(4):
        for side in sides:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError:
                return False
    return sides[0].version() is not None


@pytest.mark.parametrize("own_first", [True, False])
def test_two_cas_of_one_name_are_told_apart(own_first: bool, tmp_path: Path) -> None:
    """A CA and its successor have one subject: clients go by the key identifiers."""
    own, other = (new_authority("kagenti xDS CA", life=YEAR, now=NOW) for _ in range(2))
    leaf = new_leaf(NAMES, authority=own, life=DAY, now=NOW)
    bundle = [own.certificate, other.certificate] if own_first else [other.certificate, own.certificate]
    assert all(shakes_hands(leaf, b"".join(bundle), name, tmp_path) for name in NAMES)
    assert not shakes_hands(leaf, other.certificate, NAMES[0], tmp_path)
    assert not shakes_hands(leaf, own.certificate, "kagenti-webhook.kagenti-system.svc", tmp_path)


def test_a_leaf_ends_with_its_ca_at_the_latest() -> None:
    """And begins a little before it is made, as clocks differ."""
    authority = new_authority("ca", life=DAY, now=NOW)
    leaf = x509.load_pem_x509_certificate(new_leaf(NAMES, authority=authority, life=YEAR, now=NOW).certificate)
    assert leaf.not_valid_after_utc == (NOW + DAY).replace(microsecond=0)
    assert leaf.not_valid_before_utc < NOW - datetime.timedelta(minutes=4)


def of_others(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> Pair:
    """A CA with that key, without a key identifier: as openssl makes it in one line."""
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody's CA")])
    builder = x509.CertificateBuilder(name, name, key.public_key()).serial_number(7)
    builder = builder.not_valid_before(NOW - DAY).not_valid_after(NOW + YEAR)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    certificate = builder.sign(key, SHA256() if isinstance(key, rsa.RSAPrivateKey) else None)
    form = serialization.PrivateFormat.PKCS8
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()),
    )


def test_an_rsa_ca_that_was_taken_over_signs() -> None:
    """Cert-manager's issuers may have such a one."""
    authority = of_others(rsa.generate_private_key(65537, 2048))
    leaf = x509.load_pem_x509_certificate(new_leaf(NAMES, authority=authority, life=DAY, now=NOW).certificate)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate))


def test_a_ca_of_another_kind_is_not_signed_with() -> None:
    """Ed25519 takes no hash: such a CA is followed by one of ours, before anybody is asked to sign with it."""
    authority = of_others(ed25519.Ed25519PrivateKey.generate())
    found = held(secret("kagenti-xds-ca", tls_crt=authority.certificate, tls_key=authority.key), None)
    assert found.signing is None
    assert found.faults == ("Secret kagenti-xds-ca: tls.crt is no CA certificate with an EC or RSA key",)
    with pytest.raises(errors.Defect, match="Ed25519"):
        new_leaf(NAMES, authority=authority, life=DAY, now=NOW)

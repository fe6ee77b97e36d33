"""The pair on the wire: what is loaded, what replaces it, and what never does."""

import datetime
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.webhook.conftest import NOW, Authority

from kagenti import errors, tls

Clock = Callable[[], datetime.datetime]


def _handshake(certificates: tls.Certificates, authority: Authority, *, name: str = "localhost") -> bytes:
    """Returns the leaf (DER) of one handshake in memory."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cadata=authority.pem.decode())
    client = context.wrap_bio(to_client, to_server, server_hostname=name)
    server = certificates.base.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    leaf = client.getpeercert(binary_form=True)
    assert leaf is not None
    return leaf


def _der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pem.decode())


class Serving:
    """Certificates over a folder, with what they reported."""

    def __init__(self, folder: Path, authority: Authority, clock: Clock) -> None:
        self.folder = folder
        self.first = authority.issue()
        self.faults: list[str] = []
        certificate, key = self.first.write(folder)
        self.certificates = tls.Certificates(tls.Files(certificate, key), report=self.faults.append, now=clock)


@pytest.fixture
def serving(tmp_path: Path, authority: Authority, clock: Clock) -> Serving:
    return Serving(tmp_path / "tls", authority, clock)


def test_serves_the_pair_of_its_files(serving: Serving, authority: Authority) -> None:
    """The handshake shows the certificate that was loaded, and its seconds left are known."""
    assert _handshake(serving.certificates, authority) == _der(serving.first.certificate)
    assert serving.certificates.leaf.seconds_left(NOW) == 30 * 86400


def test_unchanged_files_are_not_loaded_again(serving: Serving) -> None:
    """A poll without a change costs a stat and swaps nothing."""
    assert serving.certificates.reload() is False
    assert serving.certificates.reloads == 0


def test_changed_pair_is_served_to_the_next_handshake(serving: Serving, authority: Authority) -> None:
    """The swap goes through the SNI callback of the same listening context."""
    second = authority.issue(days=60)
    second.write(serving.folder)
    assert serving.certificates.reload() is True
    assert _handshake(serving.certificates, authority) == _der(second.certificate)


def test_symlink_switch_of_a_mounted_secret_is_noticed(tmp_path: Path, authority: Authority, clock: Clock) -> None:
    """A kubelet writes a new folder and renames the ..data symlink over the old one."""
    first, second = authority.issue(), authority.issue()
    for name, pair in (("..1", first), ("..2", second)):
        pair.write(tmp_path / name)
    (tmp_path / "..data").symlink_to("..1")
    files = tls.Files(tmp_path / "..data" / "tls.crt", tmp_path / "..data" / "tls.key")
    certificates = tls.Certificates(files, report=pytest.fail, now=clock)
    (tmp_path / "..data_tmp").symlink_to("..2")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    assert certificates.reload() is True
    assert _handshake(certificates, authority) == _der(second.certificate)


def _mismatched(folder: Path, authority: Authority) -> None:
    (folder / "tls.crt").write_bytes(authority.issue().certificate)


def _half_written(folder: Path, authority: Authority) -> None:
    (folder / "tls.crt").write_bytes(authority.issue().certificate[:200])


def _vanished(folder: Path, authority: Authority) -> None:
    (folder / "tls.key").unlink()


def _expired(folder: Path, authority: Authority) -> None:
    authority.issue(days=-1).write(folder)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (_mismatched, "KEY_VALUES_MISMATCH"),
        (_half_written, "cannot use certificate"),
        (_vanished, "No such file"),
        (_expired, "expired"),
    ],
)
def test_unusable_pair_keeps_the_old_one(
    serving: Serving, authority: Authority, spoil: Callable[[Path, Authority], None], fault: str
) -> None:
    """A pair that cannot be used is said and counted once, and every handshake still gets the old one."""
    spoil(serving.folder, authority)
    assert [serving.certificates.reload() for _ in range(3)] == [False, False, False]
    assert _handshake(serving.certificates, authority) == _der(serving.first.certificate)
    assert serving.certificates.failures == 1
    assert len(serving.faults) == 1
    assert fault in serving.faults[0]


def test_pair_written_file_by_file_arrives_in_the_end(serving: Serving, authority: Authority) -> None:
    """After the certificate alone (mismatch), the key makes the pair whole, even within one tick of the clock."""
    second = authority.issue()
    (serving.folder / "tls.crt").write_bytes(second.certificate)
    assert serving.certificates.reload() is False
    (serving.folder / "tls.key").write_bytes(second.key)
    assert serving.certificates.reload() is True
    assert _handshake(serving.certificates, authority) == _der(second.certificate)


def test_rewritten_with_the_same_content_is_no_reload(serving: Serving) -> None:
    """New inodes with old bytes swap nothing."""
    serving.first.write(serving.folder)
    os.utime(serving.folder / "tls.crt", ns=(1, 1))
    assert serving.certificates.reload() is False


class Watched:
    """A file of CA certificates, with what was reported of it."""

    def __init__(self, path: Path, authority: Authority) -> None:
        self.path = path
        self.faults: list[str] = []
        path.write_bytes(authority.pem)
        self.authorities = tls.Authorities(path, what="the ca.crt", report=self.faults.append)


@pytest.fixture
def watched(tmp_path: Path, authority: Authority) -> Watched:
    return Watched(tmp_path / "ca.crt", authority)


def test_changed_authorities_are_read_once(watched: Watched, authority: Authority, other_authority: Authority) -> None:
    """A rotation puts the new CA beside the old one; a rewrite of the same bytes is no change."""
    both = authority.pem + other_authority.pem
    watched.path.write_bytes(both)
    assert [watched.authorities.reload() for _ in range(2)] == [True, False]
    assert watched.authorities.pem == both.decode()
    os.utime(watched.path, ns=(1, 1))
    assert watched.authorities.reload() is False


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"to be filled in", "holds no certificate in PEM"), (b"", "holds no certificate"), (None, "No such file")],
)
def test_unusable_authorities_change_nothing(
    watched: Watched, authority: Authority, content: bytes | None, fault: str
) -> None:
    """The last good ones stay, the fault is said once with its cure, and a mended file is read."""
    watched.path.unlink() if content is None else watched.path.write_bytes(content)
    assert [watched.authorities.reload() for _ in range(3)] == [False, False, False]
    assert watched.authorities.pem == authority.pem.decode()
    (said,) = watched.faults
    assert fault in said
    assert said.endswith("mount the ca.crt there")
    watched.path.write_bytes(authority.pem * 2)
    assert watched.authorities.reload() is True


def test_nothing_but_certificates_is_taken_from_their_file(watched: Watched, authority: Authority) -> None:
    """Every pod would carry it: not a comment, and not a key that stands there by mistake."""
    watched.path.write_bytes("# prüfen\n".encode() + authority.pem + authority.issue().key)
    assert watched.authorities.reload() is False
    assert watched.authorities.pem == authority.pem.decode()


def test_first_load_of_authorities_names_file_and_cure(tmp_path: Path) -> None:
    """Every pod would carry what is wrong with them."""
    with pytest.raises(errors.ManifestError, match=r'cannot read ".*ca\.crt": No such file or directory; mount the'):
        tls.Authorities(tmp_path / "ca.crt", what="the ca.crt", report=pytest.fail)


def test_first_load_names_file_and_cure(tmp_path: Path, clock: Clock) -> None:
    """Without a pair there is nothing to serve: one line that says which file and what to do."""
    files = tls.Files(tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(errors.ManifestError, match=r'cannot read ".*tls\.crt": No such file or directory; mount'):
        tls.Certificates(files, report=pytest.fail, now=clock)


def test_old_protocols_are_refused(serving: Serving) -> None:
    """TLS 1.2 is the least."""
    assert serving.certificates.base.minimum_version == ssl.TLSVersion.TLSv1_2

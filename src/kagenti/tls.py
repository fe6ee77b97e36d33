"""A server's own TLS: loads the leaf, reloads it when its files change, never breaks what is being served.

A pair is loaded into a scratch context first; only a context that took certificate, key and client CA becomes the
one that new handshakes get, through the SNI callback. The context of the listening socket itself is never loaded
again: ``load_cert_chain`` with a mismatched pair breaks a live context for every later handshake. A server that
brings its own TLS (gRPC) takes ``pair`` instead: the bytes that such a context took.
"""

import datetime
import hashlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from kagenti import errors

# One try to read files that a kubelet is switching (..data symlink), then the next poll comes.
_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Files:
    """The PEM files of the server's pair and, optionally, of the CA of its clients."""

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All files that are watched."""
        return (self.certificate, self.key) if self.client_ca is None else (self.certificate, self.key, self.client_ca)


@dataclass(frozen=True, slots=True)
class Leaf:
    """What is known of the certificate being served: the chain in PEM, its end (UTC), and a short SHA-256."""

    chain: bytes
    not_after: datetime.datetime
    fingerprint: str

    def seconds_left(self, now: datetime.datetime) -> float:
        """Returns the seconds until it expires at ``now`` (aware); negative once it has."""
        return (self.not_after - now).total_seconds()


@dataclass(frozen=True, slots=True)
class Pair:
    """Certificate chain and private key, both PEM; for a server that brings its own TLS, and nobody else."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Loaded:
    context: ssl.SSLContext
    leaf: Leaf
    pair: Pair
    content: tuple[str, ...]


class Authorities:
    """CA certificates in one PEM file, read again when it changes; what cannot be used changes nothing.

    Args:
        path: Where the file is.
        what: Whose certificates they are, for messages: ``the xDS server's ca.crt``.
        report: Called with the error text when the changed file cannot be used, once per distinct fault.

    Raises:
        errors.ManifestError: The first load failed.
    """

    def __init__(self, path: Path, *, what: str, report: Callable[[str], None]) -> None:
        self._path, self._what, self._faults = path, what, _Faults(report)
        self._signature = _stat(path)
        self.pem = self._load()

    def reload(self) -> bool:
        """Reads the file again if it changed; returns whether ``pem`` is another text from now on."""
        signature = _stat(self._path)
        if signature == self._signature and not self._faults.last:
            return False
        try:
            pem = self._load()
        except errors.ManifestError as error:
            self._faults.say(str(error))
            return False
        self._signature, self._faults.last = signature, ""
        changed, self.pem = pem != self.pem, pem
        return changed

    def _load(self) -> str:
        try:
            found = x509.load_pem_x509_certificates(self._path.read_bytes())
        except OSError as error:
            raise errors.ManifestError(
                f'cannot read "{self._path}": {error.strerror}; mount {self._what} there'
            ) from error
        except ValueError as error:
            raise errors.ManifestError(
                f'"{self._path}" holds no certificate in PEM: {error}; mount {self._what} there'
            ) from error
        # Written anew: comments, and a key that stands in the file by mistake, go nowhere.
        return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in found)


class _Faults:
    """Says each fault once, and counts them: what is watched is tried again at every look."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self.last = ""
        self.count = 0

    def say(self, fault: str) -> None:
        """Reports a fault that was not the last one said."""
        if fault == self.last:
            return
        self.last = fault
        self.count += 1
        self._report(fault)


class Certificates:
    """Serves one pair and swaps it for another; ``reload`` is called by whoever watches the clock.

    Args:
        files: Where the pair is.
        report: Called with the error text when a changed pair cannot be used, once per distinct fault.
        now: The clock (aware): an expired pair never replaces one that is being served.

    Raises:
        errors.ManifestError: The first load failed.
    """

    def __init__(self, files: Files, *, report: Callable[[str], None], now: Callable[[], datetime.datetime]) -> None:
        self._files = files
        self._faults = _Faults(report)
        self._now = now
        self._signature = _signature(files)
        self._loaded = _load(files)
        self.reloads = 0
        self.base: Final = _load(files).context
        self.base.sni_callback = self._swap

    @property
    def failures(self) -> int:
        """How many distinct faults kept a changed pair from being served."""
        return self._faults.count

    @property
    def leaf(self) -> Leaf:
        """The certificate that new handshakes get."""
        return self._loaded.leaf

    @property
    def pair(self) -> Pair:
        """The pair that new handshakes get; another object after each reload that changed it."""
        return self._loaded.pair

    def reload(self) -> bool:
        """Loads the files again if they changed; returns whether new handshakes get another pair from now on."""
        signature = _signature(self._files)
        if signature == self._signature and not self._faults.last:
            return False
        try:
            loaded = _load(self._files)
        except errors.ManifestError as error:
            self._faults.say(str(error))
            return False
        if loaded.content == self._loaded.content:
            self._signature, self._faults.last = signature, ""
            return False
        if loaded.leaf.seconds_left(self._now()) <= 0 < self.leaf.seconds_left(self._now()):
            self._faults.say(
                f'certificate "{self._files.certificate}" expired {loaded.leaf.not_after:%Y-%m-%d}; renew it'
            )
            return False
        self._signature, self._faults.last = signature, ""
        self._loaded = loaded
        self.reloads += 1
        return True

    def _swap(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:  # noqa: ARG002  # ssl's signature
        connection.context = self._loaded.context


def _signature(files: Files) -> tuple[tuple[int, int, int] | None, ...]:
    """Returns what changes when a file is replaced or its directory's ``..data`` symlink is switched."""
    return tuple(_stat(path) for path in files.paths)


def _stat(path: Path) -> tuple[int, int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _load(files: Files) -> _Loaded:
    """Loads a context whose content is known to be the bytes read, although ssl takes paths only."""
    for _ in range(_ATTEMPTS):
        before = _read(files)
        context = _context(files)
        if _read(files) == before:
            digests = tuple(hashlib.sha256(content).hexdigest() for content in before)
            return _Loaded(context, _leaf(before[0], files.certificate), Pair(before[0], before[1]), digests)
    raise errors.ManifestError(f'certificate "{files.certificate}" changes while it is read; it is tried again')


def _read(files: Files) -> tuple[bytes, ...]:
    try:
        return tuple(path.read_bytes() for path in files.paths)
    except OSError as error:
        raise errors.ManifestError(
            f'cannot read "{error.filename}": {error.strerror}; mount the Secret with the certificate there'
        ) from error


def _context(files: Files) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])  # all that an API server offers to webhooks (kubernetes PR 82090)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
        if files.client_ca is not None:
            context.load_verify_locations(files.client_ca)
            # A bad certificate ends the handshake; that there is one is asked per path, since a kubelet probes without.
            context.verify_mode = ssl.CERT_OPTIONAL
    except (ssl.SSLError, OSError, ValueError) as error:
        what = getattr(error, "reason", None) or error
        raise errors.ManifestError(
            f'cannot use certificate "{files.certificate}" with key "{files.key}": {what}; write both of one pair'
        ) from error
    return context


def _no_password() -> bytes:
    return b""  # without it ssl asks on the terminal for that of an encrypted key


def _leaf(chain: bytes, path: Path) -> Leaf:
    try:
        certificate = x509.load_pem_x509_certificates(chain)[0]
    except (ValueError, IndexError) as error:
        raise errors.ManifestError(f'certificate "{path}" is not PEM of an X.509 certificate: {error}') from error
    return Leaf(chain, certificate.not_valid_after_utc, hashlib.sha256(chain).hexdigest()[:12])

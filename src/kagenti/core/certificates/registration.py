"""The caBundle of our webhook configurations: read from a raw object, as a patch of it, and how long it will do."""

import base64
import binascii
import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from kagenti.core.certificates.certificate import Certificate, pem_of, read
from kagenti.core.settings.model import Finding

JSON = Any  # a raw webhook configuration, or an operation of a patch

_SOON: Final = datetime.timedelta(days=30)


def bundle_of(configuration: Mapping[str, JSON]) -> tuple[Certificate, ...]:
    """Returns the CAs that every entry of a configuration trusts; one that cannot be read trusts none."""
    trusted: set[Certificate] | None = None
    for entry in configuration.get("webhooks") or ():
        found = set(_read(entry))
        trusted = found if trusted is None else trusted & found
    return tuple(sorted(trusted or (), key=lambda certificate: certificate.fingerprint))


def patch_of(configuration: Mapping[str, JSON], bundle: Sequence[Certificate]) -> list[JSON] | None:
    """Returns a JSON patch (RFC 6902) after which each entry trusts exactly this bundle; None where it does already.

    It writes nothing but our part of each entry, of the very object that was read: its tests fail on another object of that
    name and on other entries, and a patch makes no object. Not a server-side apply: an entry of which an *applier* owns a
    field stays behind, without rules, when a tool that applies leaves it out, and the API server then refuses the tool's
    whole change (structured-merge-diff adds back what other appliers own; seen on 1.36, tests/e2e/certificates).

    Args:
        configuration: The object as read.
        bundle: The CAs, never empty.
    """
    text = base64.b64encode(pem_of(bundle).encode()).decode()
    operations: list[JSON] = [{"op": "test", "path": "/metadata/uid", "value": configuration["metadata"]["uid"]}]
    for index, entry in enumerate(configuration.get("webhooks") or ()):
        if (entry.get("clientConfig") or {}).get("caBundle") == text:
            continue
        operations += [
            {"op": "test", "path": f"/webhooks/{index}/name", "value": entry["name"]},
            {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": text},
        ]
    return operations if len(operations) > 1 else None


def near_expiry(configuration: Mapping[str, JSON], kind: str, now: datetime.datetime) -> Iterator[Finding]:
    """Yields a finding where the last CA that all entries trust ends within a month; its successor should be there by then."""
    last = max((certificate.ends for certificate in bundle_of(configuration)), default=None)
    if last is not None and last - now < _SOON:
        yield Finding(
            "CertificateNearExpiry",
            f"its caBundle ends on {last:%Y-%m-%d}: from then on the API server trusts no webhook, and no triggered pod can be "
            "created; look at cert-manager's Certificate, at the log of the leading operator (certificates.mode selfManaged), or "
            "set certificates.caBundle to a new one (provided)",
            objects=(f"{kind} {configuration['metadata']['name']}",),
        )


def _read(entry: Mapping[str, JSON]) -> tuple[Certificate, ...]:
    try:
        return read(base64.b64decode((entry.get("clientConfig") or {}).get("caBundle") or "", validate=True))
    except (ValueError, binascii.Error):
        return ()

"""The caBundle of our webhook configurations: read from a raw object, and as a manifest for server-side apply."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from typing import Any

from kagenti.core.certificates.certificate import Certificate, pem_of, read

JSON = Any  # a raw webhook configuration, or a manifest of parts of one


def bundle_of(configuration: Mapping[str, JSON]) -> tuple[Certificate, ...]:
    """Returns the CAs that every entry of a configuration trusts; one that cannot be read trusts none."""
    trusted: set[Certificate] | None = None
    for entry in configuration.get("webhooks") or ():
        found = set(_read(entry))
        trusted = found if trusted is None else trusted & found
    return tuple(sorted(trusted or (), key=lambda certificate: certificate.fingerprint))


def manifest_of(configuration: Mapping[str, JSON], bundle: Sequence[Certificate]) -> JSON | None:
    """Returns what to apply so that each entry trusts exactly this bundle; None where it stands there already.

    The manifest names nothing but our part of each entry, and carries ``metadata.uid``: applied to a configuration that was
    deleted meanwhile it fails, where it would otherwise make it again, without rules and without an owner.

    Args:
        configuration: The object as read.
        bundle: The CAs, never empty.
    """
    text = base64.b64encode(pem_of(bundle).encode()).decode()
    entries = [entry for entry in configuration.get("webhooks") or () if entry.get("name")]
    if all((entry.get("clientConfig") or {}).get("caBundle") == text for entry in entries):
        return None
    metadata = configuration["metadata"]
    return {
        "apiVersion": configuration["apiVersion"],
        "kind": configuration["kind"],
        "metadata": {"name": metadata["name"], "uid": metadata["uid"]},
        "webhooks": [{"name": entry["name"], "clientConfig": {"caBundle": text}} for entry in entries],
    }


def disowning_patch(configuration: Mapping[str, JSON], *, manager: str) -> JSON | None:
    """Returns a JSON merge patch (RFC 7386) after which nobody owns the caBundles; None where ``manager`` owns nothing.

    An entry of which another manager owns a field stays behind, without rules, when a tool that applies server-side leaves
    it out; the API server then refuses the whole object, and with it any change of the trigger mode. What nobody owns goes
    with its entry, and otherwise stays as it is (Kubernetes: "Server-Side Apply", "Clearing managedFields").
    """
    metadata = configuration["metadata"]
    fields = metadata.get("managedFields") or ()
    others = [field for field in fields if field.get("manager") != manager]
    if not others or len(others) == len(fields):  # the last manager cannot be taken away: an empty list changes nothing
        return None
    return {
        "metadata": {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"], "managedFields": others}
    }


def _read(entry: Mapping[str, JSON]) -> tuple[Certificate, ...]:
    try:
        return read(base64.b64decode((entry.get("clientConfig") or {}).get("caBundle") or "", validate=True))
    except (ValueError, binascii.Error):
        return ()

"""Whether the API server can trust the leaf: verifies it against the caBundle of our own webhook configuration.

A leaf from another CA than the bundle's would make every create fail, so such a replica must not become ready.
Only signatures, dates and names are compared, as crypto/x509 of the API server does; no policy of the web's CAs.
"""

import base64
import binascii
import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from kagenti import tls

JSON = Any  # a raw MutatingWebhookConfiguration


def distrust(configuration: Mapping[str, JSON], *, leaf: tls.Leaf, now: datetime.datetime) -> str:
    """Returns why the API server would refuse the leaf, as one sentence, or an empty string.

    Args:
        configuration: The raw configuration; entries without a caBundle are checked against system roots by the API
            server, which nobody here can see: they count as trusted.
        leaf: The certificate being served.
        now: The clock, aware.
    """
    name = (configuration.get("metadata") or {}).get("name", "")
    chain = x509.load_pem_x509_certificates(leaf.chain)
    begins = chain[0].not_valid_before_utc
    if now < begins:
        return f"the serving certificate is valid from {begins:%Y-%m-%dT%H:%M:%SZ} only; mend the clocks, or wait"
    for entry in configuration.get("webhooks") or ():
        fault = _fault(entry.get("clientConfig") or {}, chain=chain, now=now)
        if fault:
            return f'MutatingWebhookConfiguration {name} entry "{entry.get("name", "")}": {fault}'
    return ""


def _fault(client: Mapping[str, JSON], *, chain: Sequence[x509.Certificate], now: datetime.datetime) -> str:
    bundle = client.get("caBundle")
    if not bundle:
        return ""
    try:
        roots = x509.load_pem_x509_certificates(base64.b64decode(bundle))
    except (ValueError, binascii.Error):
        return "its caBundle is not PEM of certificates; let the operator or cert-manager write it"
    if not _leads_to(chain[0], roots=roots, between=chain[1:], now=now):
        return "its caBundle does not verify the serving certificate; wait for the rotation or mend the caBundle"
    host = _host(client.get("service"))
    if host and not _covers(chain[0], host):
        return f'the serving certificate is not for "{host}"; issue it with that subject alternative name'
    return ""


def _leads_to(
    certificate: x509.Certificate,
    *,
    roots: Sequence[x509.Certificate],
    between: Sequence[x509.Certificate],
    now: datetime.datetime,
) -> bool:
    if any(_issued(certificate, root, now) for root in roots) or certificate in roots:
        return True
    return any(
        _leads_to(issuer, roots=roots, between=[other for other in between if other is not issuer], now=now)
        for issuer in between
        if _issued(certificate, issuer, now)
    )


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, now: datetime.datetime) -> bool:
    if not issuer.not_valid_before_utc <= now <= issuer.not_valid_after_utc:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _host(service: Mapping[str, JSON] | None) -> str:
    # The name that the API server asks for: <service>.<namespace>.svc (k8s.io/apiserver, webhook client manager).
    return f"{service.get('name')}.{service.get('namespace')}.svc" if service else ""


def _covers(certificate: x509.Certificate, host: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False
    known: Iterable[str] = names.get_values_for_type(x509.DNSName)
    wildcard = "*." + host.partition(".")[2]
    return any(name.lower() in (host, wildcard) for name in known)

"""Whether the API server can trust the leaf: verifies it against the caBundle of our own webhook configuration.

A leaf from another CA than the bundle's would make every create fail, so such a replica must not become ready.
"""

import base64
import binascii
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from kagenti import tls
from kagenti.core.certificates import Certificate, leads_to, read

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
    chain = read(leaf.chain)
    begins = chain[0].begins
    if now < begins:
        return f"the serving certificate is valid from {begins:%Y-%m-%dT%H:%M:%SZ} only; mend the clocks, or wait"
    for entry in configuration.get("webhooks") or ():
        fault = _fault(entry.get("clientConfig") or {}, chain=chain, now=now)
        if fault:
            return f'MutatingWebhookConfiguration {name} entry "{entry.get("name", "")}": {fault}'
    return ""


def _fault(client: Mapping[str, JSON], *, chain: Sequence[Certificate], now: datetime.datetime) -> str:
    bundle = client.get("caBundle")
    if not bundle:
        return ""
    try:
        roots = read(base64.b64decode(bundle))
    except (ValueError, binascii.Error):
        roots = ()
    if not roots:
        return "its caBundle is not PEM of certificates; let the operator or cert-manager write it"
    if not leads_to(chain[0], roots=roots, between=chain[1:], now=now):
        return "its caBundle does not verify the serving certificate; wait for the rotation or mend the caBundle"
    host = _host(client.get("service"))
    if host and not _covers(chain[0], host):
        return f'the serving certificate is not for "{host}"; issue it with that subject alternative name'
    return ""


def _host(service: Mapping[str, JSON] | None) -> str:
    # The name that the API server asks for: <service>.<namespace>.svc (k8s.io/apiserver, webhook client manager).
    return f"{service.get('name')}.{service.get('namespace')}.svc" if service else ""


def _covers(certificate: Certificate, host: str) -> bool:
    return not certificate.names.isdisjoint((host, "*." + host.partition(".")[2]))

"""Asks our own port as the API server would: one TLS handshake, trusted by the live caBundle alone.

What ``trust`` reads from files is what should be served; this is what is served. It also meets what only a handshake shows: a
key usage that clients refuse, a chain in the wrong order.
"""

import asyncio
import base64
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

JSON = Any  # a raw MutatingWebhookConfiguration, or a part of it

_LOOPBACK: Final = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  # where all of them listen


async def refusal(configuration: Mapping[str, JSON], *, host: str, port: int) -> str:
    """Returns why the API server would not finish a handshake with us, as one sentence, or an empty string.

    Args:
        configuration: The raw configuration; its first entry speaks for all, and without a caBundle nobody is asked.
        host: Address that we listen on.
        port: Port that we listen on.
    """
    client = next((entry.get("clientConfig") or {} for entry in configuration.get("webhooks") or ()), {})
    if not client.get("caBundle"):
        return ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=base64.b64decode(client["caBundle"]).decode())
    try:
        _, writer = await asyncio.open_connection(
            _LOOPBACK.get(host, host), port, ssl=context, server_hostname=_name(client)
        )
    except ssl.SSLCertVerificationError as problem:
        return f"a handshake with our own port fails: {problem.verify_message}; look at certificate and caBundle"
    except OSError as problem:
        return f"our own port {port} does not answer: {problem}"
    writer.transport.abort()  # a closing handshake is for those who have something to lose
    return ""


def _name(client: Mapping[str, JSON]) -> str:
    """Returns the name that the API server asks for (k8s.io/apiserver, webhook client manager)."""
    service = client.get("service")
    if service:
        return f"{service.get('name')}.{service.get('namespace')}.svc"
    return urlsplit(str(client.get("url") or "")).hostname or ""

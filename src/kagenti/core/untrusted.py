"""Servers that nobody vouches for: addresses that are never dialled, and how a refusal of their answers is said."""

import ipaddress
from collections.abc import Collection
from typing import Final

from kagenti import errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Addresses of clouds' metadata servers outside of 169.254.0.0/16: AWS, Alibaba, Azure's wire server, Oracle.
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
# The last 32 bits are an IPv4 address: NAT64 (RFC 6052), and IPv4-compatible, deprecated and still routed by tunnels (RFC 4291).
_EMBEDDING: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("::/96"))
_NONE_EMBEDDED: Final = (ipaddress.ip_address("::"), ipaddress.ip_address("::1"))


class Refused(errors.InputError):
    """A URL, an address or an answer that is not used; ``code`` is a bounded reason, the message quotes no answer."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def literal(host: str) -> Address | None:
    """Returns the address that a host is spelt as, or None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def forbidden(address: str, port: int, *, api_servers: Collection[tuple[str, int]]) -> str:
    """Returns what makes an address one that is never dialled, as words after "the address is"; empty where nothing does.

    Args:
        address: The address; a scope id is ignored. Private ones are where clusters live.
        port: The port that would be dialled.
        api_servers: Addresses and ports of the API server.
    """
    found = unwrapped(ipaddress.ip_address(address.partition("%")[0]))
    for what, holds in (
        ("loopback", found.is_loopback),
        ("link-local", found.is_link_local),
        ("unspecified", found.is_unspecified),
        ("multicast", found.is_multicast),
        ("a metadata server's", found in _METADATA),
    ):
        if holds:
            return what
    if any(port == own and found == unwrapped(ipaddress.ip_address(server)) for server, own in api_servers):
        return "the API server's"
    return ""


def unwrapped(address: Address) -> Address:
    """Returns the IPv4 address that an IPv6 one stands for, else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address not in _NONE_EMBEDDED and any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address

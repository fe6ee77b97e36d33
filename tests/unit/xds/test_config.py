"""The configuration of a process, and the addresses of the API server."""

import socket
from pathlib import Path

import pytest

from kagenti import errors
from kagenti.fetch import ApiServers
from kagenti.xds.config import XdsConfig


@pytest.mark.parametrize("name", ["", "x" * 117])
def test_a_replica_must_have_a_name_that_fits(name: str) -> None:
    """It becomes part of a field manager, which has at most 128 characters."""
    with pytest.raises(errors.UsageError, match="give the pod's name with --replica"):
        XdsConfig(Path("tls.crt"), Path("tls.key"), name)


def test_ports_are_those_of_the_chart() -> None:
    """Envoys dial 15010; loopback alone sees debug."""
    config = XdsConfig(Path("tls.crt"), Path("tls.key"), "xds-1")
    assert (config.port, config.status_port, config.debug_port) == (15010, 15011, 15012)


class Resolver:
    """Names and their addresses, in place of the machine's own resolver."""

    def __init__(self, **addresses: str) -> None:
        self.addresses = {name.replace("_", "."): address for name, address in addresses.items()}

    def getaddrinfo(self, host: str, port: int, *_: object) -> list[tuple[object, ...]]:
        """Answers as ``socket.getaddrinfo`` does; an address is its own name."""
        address = host if host[0].isdigit() else self.addresses.get(host)
        if address is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, port))]


async def test_the_api_server_is_known_by_all_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the URL that we use and by the Service that pods see; a name that does not resolve changes nothing."""
    resolver = Resolver(api_example="192.0.2.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolver.getaddrinfo)
    service = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    servers = ApiServers("https://api.example:6443", environment=service)
    assert servers.known() == frozenset()
    await servers.look()
    assert servers.known() == {("192.0.2.1", 6443), ("10.96.0.1", 443)}
    resolver.addresses.clear()
    await servers.look()
    assert servers.known() == {("192.0.2.1", 6443), ("10.96.0.1", 443)}
    nowhere = ApiServers("https://nowhere.invalid", environment={})
    await nowhere.look()
    assert nowhere.known() == frozenset()

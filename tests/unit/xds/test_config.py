"""The configuration of a process, and the addresses of the API server."""

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


async def test_the_api_server_is_known_by_all_its_addresses() -> None:
    """By the URL that we use and by the Service that pods see; a name that does not resolve changes nothing."""
    service = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    servers = ApiServers("https://127.0.0.1:6443", environment=service)
    assert servers.known() == frozenset()
    await servers.look()
    assert servers.known() == {("127.0.0.1", 6443), ("10.96.0.1", 443)}
    nowhere = ApiServers("https://nowhere.invalid", environment={})
    await nowhere.look()
    assert nowhere.known() == frozenset()

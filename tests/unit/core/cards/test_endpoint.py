"""Where a card is asked for, and which addresses are never dialled."""

import ipaddress
from typing import Any

import pytest

from kagenti.core import cards
from kagenti.core.cards import Port
from kagenti.core.untrusted import Refused
from tests.unit.core.cards.given import pod

JSON = Any  # spec.endpoint

A, HTTP, A2A = Port(9000, "metrics"), Port(8080, "http"), Port(7000, "a2a")


@pytest.mark.parametrize(
    ("endpoint", "ports", "port", "reason"),
    [
        ({"port": 1234}, (A2A,), 1234, "spec.endpoint has the word"),
        ({}, (A, HTTP, A2A), 7000, "a2a before http"),
        ({}, (A, HTTP), 8080, "http before the first"),
        ({}, (A, Port(1)), 9000, "the first"),
        ({}, (), 8081, "the design's port"),
    ],
)
def test_port(endpoint: JSON, ports: tuple[Port, ...], port: int, reason: str) -> None:
    """The first rule that holds."""
    assert cards.port_of(endpoint, ports) == port, reason


def test_urls() -> None:
    """New name first, then the old; one path only where the spec names it; IPv6 in brackets."""
    assert cards.urls_of({}, pod("a")) == (
        "http://10.1.0.1:8081/.well-known/agent-card.json",
        "http://10.1.0.1:8081/.well-known/agent.json",
    )
    endpoint = {"scheme": "https", "path": "/.well-known/card", "port": 443}
    assert cards.urls_of(endpoint, pod("a", ip="fd00::7")) == ("https://[fd00::7]:443/.well-known/card",)


POD_NETWORKS = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)


@pytest.mark.parametrize(
    ("ip", "networks", "what"),
    [
        ("169.254.169.254", (), "link-local"),
        ("169.254.169.254", (ipaddress.ip_network("0.0.0.0/0"),), "link-local"),
        ("fd00:ec2::254", POD_NETWORKS, "metadata"),
        ("100.100.100.200", (), "metadata"),
        ("127.0.0.1", (), "loopback"),
        ("127.0.0.1", POD_NETWORKS, "loopback"),
        ("::ffff:127.0.0.1", (), "loopback"),
        ("::1", LOOPBACK, "loopback"),
        ("0.0.0.0", (), "unspecified"),  # noqa: S104  # judged, not bound
        ("224.0.0.1", (), "multicast"),
        ("10.96.0.1", POD_NETWORKS, "the API server's"),
        ("192.168.0.1", POD_NETWORKS, "outside of the pod networks"),
        ("weather", (), "is none"),
    ],
)
def test_addresses_that_are_never_dialled(ip: str, networks: cards.Networks, what: str) -> None:
    """A pod's status may be written by others than its kubelet."""
    with pytest.raises(Refused, match=what) as refused:
        cards.refuse_pod_address(pod("a", ip=ip), 443, networks=networks, api_servers={("10.96.0.1", 443)})
    assert refused.value.code == "ForbiddenAddress"


@pytest.mark.parametrize(
    ("ip", "networks", "port"),
    [
        ("10.1.0.1", (), 443),
        ("fd00::7", POD_NETWORKS, 443),
        ("203.0.113.7", (), 443),
        ("127.3.2.1", LOOPBACK, 443),
        ("10.96.0.1", POD_NETWORKS, 8081),
    ],
)
def test_addresses_that_are(ip: str, networks: cards.Networks, port: int) -> None:
    """Any that pods may have; loopback only where the administrator says so."""
    cards.refuse_pod_address(pod("a", ip=ip), port, networks=networks, api_servers={("10.96.0.1", 443)})

"""Where a card is asked for: spec.endpoint, else what the pod's ports say, else A2A's own places."""

import ipaddress
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from kagenti.core.cards.pods import AgentPod, Port
from kagenti.core.untrusted import Refused, forbidden, literal, unwrapped

JSON = Any  # spec.endpoint

PATHS: Final = ("/.well-known/agent-card.json", "/.well-known/agent.json")
"""A2A 0.3 and later, and its name before; the second is asked for only where the first is answered 404 (spec 06)."""
DEFAULT_PORT: Final = 8081
"""Port of agents in the design."""
_NAMES: Final = ("a2a", "http")

Networks = Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]


def port_of(endpoint: Mapping[str, JSON], ports: Sequence[Port]) -> int:
    """Returns the port: the endpoint's, else the container port named a2a, then http, else the first, else 8081."""
    if isinstance(endpoint.get("port"), int):
        return int(endpoint["port"])
    for name in _NAMES:
        for port in ports:
            if port.name == name:
                return port.number
    return ports[0].number if ports else DEFAULT_PORT


def urls_of(endpoint: Mapping[str, JSON], pod: AgentPod) -> tuple[str, ...]:
    """Returns the URLs to ask in turn, on the pod's own address; a path that spec.endpoint gives is the only one."""
    host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
    origin = f"{endpoint.get('scheme') or 'http'}://{host}:{port_of(endpoint, pod.ports)}"
    paths = (str(endpoint["path"]),) if endpoint.get("path") else PATHS
    return tuple(origin + path for path in paths)


def refuse_pod_address(
    pod: AgentPod, port: int, *, networks: Networks, api_servers: Collection[tuple[str, int]]
) -> None:
    """Judges the address that would be dialled: a pod's status is written by kubelets, and by whoever may write it.

    Args:
        pod: The pod.
        port: The port that would be dialled.
        networks: The networks that pods have their addresses from; empty means any that is not forbidden. Naming one
            is the administrator's word: loopback inside of it is dialled then, metadata servers never are.
        api_servers: Addresses and ports of the API server.

    Raises:
        Refused: ForbiddenAddress.
    """
    address = literal(pod.ip)
    if address is None:
        raise Refused("ForbiddenAddress", "the pod's address is none")
    what = forbidden(pod.ip, port, api_servers=api_servers)
    inside = any(unwrapped(address) in network for network in networks)
    if what and not (what == "loopback" and inside):
        raise Refused("ForbiddenAddress", f"the pod's address is {what}")
    if networks and not inside:
        raise Refused(
            "ForbiddenAddress", "the pod's address lies outside of the pod networks that the operator was given"
        )

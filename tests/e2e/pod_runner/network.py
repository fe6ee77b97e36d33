"""A pod's network: a namespace of the kernel's, one wire to the host, an IPv4 and an IPv6 address at either end."""

import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass, field

_PROCESSES = 120  # beside each other, told apart by their pids
_PODS = 136 * _PROCESSES  # addresses, all below the node's
_numbers = itertools.count(os.getpid() % _PROCESSES, _PROCESSES)  # each counts its own, however many pods it runs


def permitted() -> str:
    """Returns why no network namespace with redirection can be made here; empty where one can."""
    if os.geteuid() != 0:
        return "network namespaces with iptables need root"
    missing = [tool for tool in ("ip", "iptables", "ip6tables", "nsenter", "setpriv") if shutil.which(tool) is None]
    return f"{', '.join(missing)} missing; apt-get install iproute2 iptables util-linux" if missing else ""


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@dataclass
class Network:
    """One namespace: ``host`` addresses stand for the node and the services, ``pod`` addresses are the pod's own."""

    number: int = field(default_factory=lambda: next(_numbers))

    def __post_init__(self) -> None:
        high, low = divmod(self.number % _PODS * 4, 256)
        self.name = f"kagenti-{os.getpid()}-{self.number}"
        self.host4, self.pod4 = f"10.209.{high}.{low + 1}", f"10.209.{high}.{low + 2}"
        self.host6, self.pod6 = f"fd00:6b61:{self.number:x}::1", f"fd00:6b61:{self.number:x}::2"

    @property
    def pod_ips(self) -> str:
        """The pod's addresses as the downward API gives ``status.podIPs``."""
        return f"{self.pod4},{self.pod6}"

    def __enter__(self) -> "Network":
        wire, end = f"kgt{self.number}", f"kgp{self.number}"
        _ip("netns", "add", self.name)
        try:
            _ip("link", "add", wire, "type", "veth", "peer", "name", end, "netns", self.name)
            _ip("addr", "add", f"{self.host4}/30", "dev", wire)
            _ip("-6", "addr", "add", f"{self.host6}/64", "dev", wire, "nodad")
            _ip("link", "set", wire, "up")
            inside = ("-n", self.name)
            _ip(*inside, "link", "set", "lo", "up")
            _ip(*inside, "addr", "add", f"{self.pod4}/30", "dev", end)
            _ip(*inside, "-6", "addr", "add", f"{self.pod6}/64", "dev", end, "nodad")
            _ip(*inside, "link", "set", end, "up")
            _ip(*inside, "route", "add", "default", "via", self.host4)
            _ip(*inside, "-6", "route", "add", "default", "via", self.host6)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        _ip("netns", "delete", self.name)  # the wire goes with it

    def enter(self) -> list[str]:
        """Returns the words before a command that put it into the namespace."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]


class Node:
    """The node: an address of its own at which services stand, reachable from every pod and from this machine."""

    # Two runs on one machine do not meet; no pod is ever here.
    ADDRESS, SECOND = (f"10.209.255.{first + os.getpid() % 120}" for first in (2, 130))

    def __init__(self, address: str = ADDRESS) -> None:
        """``address`` is one of the two: where two installations run beside each other, each has its services."""
        self.address, letter = address, "n" if address == self.ADDRESS else "s"
        self._link, self._end = f"kg{letter}{os.getpid()}", f"kg{letter}e{os.getpid()}"

    def __enter__(self) -> "Node":
        _ip("link", "add", self._link, "type", "veth", "peer", "name", self._end)
        _ip("addr", "add", f"{self.address}/32", "dev", self._link)
        _ip("link", "set", self._link, "up")
        return self

    def __exit__(self, *_: object) -> None:
        _ip("link", "delete", self._link)

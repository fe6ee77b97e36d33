"""What one operator process is told when it starts; decides nothing and reads no environment."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from kagenti import errors
from kagenti.core.cards import Networks
from kagenti.core.installation import Installation

Mode = Literal["label", "cr", "both"]
Target = Literal["pods", "workloads"]

_LONGEST_IDENTITY: Final = 253  # a Lease's holderIdentity is a pod's name here


@dataclass(frozen=True, slots=True)
class OperatorConfig:
    """Settings of the operator process; the chart gives them as flags of ``kagenti operator``.

    ``identity`` is the pod's name: who holds the Lease. ``mode``, ``target``, ``installation`` and ``xds_ca`` (PEM, watched)
    are the webhook's own: what it would make of a pod is computed with them. ``status_port`` serves health and metrics; 0
    takes a free one. ``lease_seconds`` is how long a dead leader is waited for. ``pod_networks`` are those that pods have
    their addresses from, where agents are asked for their cards: empty means any that is not forbidden. ``allow_restart``
    says that the account may patch workloads, and that ``rollout.stale: Restart`` is carried out. ``manage_certificates`` has
    the leader make the serving certificates, in Secrets ``webhook_secret`` and ``xds_secret`` and the CAs beside them; the CA
    of the xDS server is then known from there, and ``xds_ca`` not used. ``ca_overlap`` (seconds) is how long a new CA is
    published before it signs; 0 takes what each kind of client needs.
    ``kubeconfig`` empty means in-cluster, else the usual search.

    Raises:
        UsageError: The identity is empty or too long, or the lease too short to be renewed.
    """

    identity: str
    mode: Mode = "both"
    target: Target = "pods"
    host: str = "0.0.0.0"  # noqa: S104  # probes come to the pod's address, which is not known here
    status_port: int = 15013
    installation: Installation = field(default_factory=Installation)
    xds_ca: Path | None = None
    kubeconfig: str = ""
    lease_seconds: int = 8
    pod_networks: Networks = ()
    allow_restart: bool = False
    manage_certificates: bool = False
    webhook_secret: str = "kagenti-webhook-tls"  # noqa: S105  # the name of a Secret
    xds_secret: str = "kagenti-xds-tls"  # noqa: S105  # the name of a Secret
    ca_overlap: float = 0.0
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if not 0 < len(self.identity) <= _LONGEST_IDENTITY:
            raise errors.UsageError(
                f"the identity {self.identity!r} has {len(self.identity)} characters, want 1 to {_LONGEST_IDENTITY};"
                " give the pod's name with --identity"
            )
        if self.lease_seconds < 4:  # renewed every quarter of it, and a second is what a slow API server takes
            raise errors.UsageError(f"--lease-seconds is {self.lease_seconds}, want 4 or more")


def networks(text: str) -> Networks:
    """Returns the networks of a text, which has commas between them; raises UsageError for one that is none."""
    found = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        try:
            found.append(ipaddress.ip_network(part))
        except ValueError as problem:
            raise errors.UsageError(
                f"--pod-networks has {part!r}, which is no network: {problem}; write it as 10.244.0.0/16"
            ) from problem
    return tuple(found)

"""What one xDS process is told when it starts; decides nothing and reads no environment."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from kagenti import errors
from kagenti.core.installation import Installation
from kagenti_api.v1alpha1 import wellknown

# A field manager has at most 128 characters (Kubernetes: metav1.ApplyOptions), of which "kagenti-xds-" takes 12.
_LONGEST_REPLICA: Final = 116


@dataclass(frozen=True, slots=True)
class XdsConfig:
    """Settings of the xDS process; the chart gives them as flags of ``kagenti xds``.

    ``certificate`` and ``key`` are PEM files, watched for changes. ``idp_ca`` (PEM, watched) has CAs that identity
    providers may be signed by, besides the system's. ``replica`` is the name of our entry in status: the
    pod's. ``port`` is the one that Envoys dial; ``status_port`` serves health and metrics; ``debug_port`` listens on
    loopback only. A port of 0 takes a free one. ``kubeconfig`` empty means in-cluster, else the usual search.
    ``shutdown_grace`` is how long open streams are spread over the other replicas, and ``poll`` how often files are
    looked at, both in seconds.

    Raises:
        UsageError: The name of the replica is empty or too long.
    """

    certificate: Path
    key: Path
    replica: str
    host: str = "0.0.0.0"  # noqa: S104  # a Service sends to the pod's address, which is not known here
    port: int = wellknown.XDS_PORT
    status_port: int = 15011
    debug_port: int = 15012
    installation: Installation = field(default_factory=Installation)
    idp_ca: Path | None = None
    kubeconfig: str = ""
    shutdown_grace: float = 10.0
    poll: float = 1.0
    log_level: str = "INFO"

    def __post_init__(self) -> None:
        if not 0 < len(self.replica) <= _LONGEST_REPLICA:
            raise errors.UsageError(
                f"the replica's name {self.replica!r} has {len(self.replica)} characters, want 1 to {_LONGEST_REPLICA};"
                " give the pod's name with --replica"
            )

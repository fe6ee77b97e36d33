"""What one webhook process is told when it starts; decides nothing and reads no environment."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from kagenti.core.installation import Installation

Mode = Literal["label", "cr", "both"]
Target = Literal["pods", "workloads"]
Consistency = Literal["strict", "cached"]

# Spec 03: etcd objects end at 1.5 MiB, and an update review carries two of them as JSON.
BODY_LIMIT: Final = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Settings of the webhook process; the chart gives them as flags of ``kagenti webhook``.

    ``certificate`` and ``key`` are PEM files, watched for changes. ``client_ca`` (PEM) makes a client certificate
    from it a condition of every POST; probes and metrics stay open. ``xds_ca`` (PEM, watched) is the CA of the xDS server,
    which each injected pod carries. ``port`` 0 takes a free port.
    ``webhook_configuration`` names the MutatingWebhookConfiguration whose caBundle the leaf must verify against;
    empty leaves the check out. ``kubeconfig`` empty means in-cluster, else the usual search. ``shutdown_grace``
    and ``poll`` (how often files and, ten times slower, the caBundle are looked at) are in seconds; ``concurrency``
    is the number of reviews decided at once; ``body_limit`` is in bytes.
    """

    certificate: Path
    key: Path
    mode: Mode = "both"
    target: Target = "pods"
    consistency: Consistency = "strict"
    host: str = "0.0.0.0"  # noqa: S104  # a Service sends to the pod's address, which is not known here
    port: int = 9443
    client_ca: Path | None = None
    xds_ca: Path | None = None
    installation: Installation = field(default_factory=Installation)
    kubeconfig: str = ""
    webhook_configuration: str = ""
    shutdown_grace: float = 5.0
    poll: float = 1.0
    concurrency: int = 1024
    body_limit: int = BODY_LIMIT
    log_level: str = "INFO"

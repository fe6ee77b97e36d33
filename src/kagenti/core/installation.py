"""What one installation of kagenti knows of itself: names and addresses that no layer sets."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Installation:
    """Facts given by the chart to every process, and by defaults to the CLI.

    ``xds_authority`` is the PEM of the CA of the xDS server, inline in the bootstrap; empty in offline use.
    """

    release_namespace: str = "kagenti-system"
    cluster_domain: str = "cluster.local"
    xds_host: str = "kagenti-xds.kagenti-system.svc"
    xds_authority: str = ""
    version: str = "0.1.0"
    namespace_selector: str = "kagenti.io/enrolled=true"
    platform_groups: tuple[str, ...] = field(default=())

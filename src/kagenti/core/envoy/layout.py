"""Names and numbers of the static layout: what the bootstrap and the dynamic resources call each other.

Pods carry their bootstrap for life, so a name here may only change together with ``LAYOUT``, and the server keeps the
names and shapes of the last three layouts (spec 05; golden file ``layout.json``).
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a part of Envoy's configuration: nested dict, list and scalars, in proto field names

LAYOUT: Final = 1
"""Number of the static layout (listeners, filter slots); in the receipt and in node metadata."""

ResourceType = Literal["cluster", "extension", "route"]
TYPE_URLS: Final[Mapping[ResourceType, str]] = {
    "cluster": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
    "extension": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
    "route": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
}
"""Type URL of each kind of dynamic resource: CDS, ECDS, RDS. Listeners are static."""

# Listeners, and the route tables of the same names
STATUS: Final = "status"
INBOUND: Final = "inbound"
OUTBOUND: Final = "outbound"

# Clusters of the bootstrap
XDS_CLUSTER: Final = "xds"
ADMIN_CLUSTER: Final = "admin"
EXT_PROC_CLUSTER: Final = "ext_proc_cluster"  # reference: authbridge-contract section 3.3

# Clusters of CDS that are named by the bootstrap or by both route tables
APP_CLUSTER: Final = "app"
ORIGINAL_DESTINATION: Final = "orig_dst"
COLLECTOR_CLUSTER: Final = "otel"
TLS_OUT: Final = "tls_out"
TCP_OUT: Final = "tcp_out"

# Filters; the name of a filter is the key of its configuration per route
JWT: Final = "jwt"  # ECDS slot, http, inbound
RBAC: Final = "rbac"  # static, http, inbound: denies what no route allows
LUA: Final = (
    "envoy.filters.http.lua"  # static, http, outbound; also the metadata namespace that handle:metadata() reads
)
EXT_PROC: Final = "ext_proc"  # static, http, outbound, with AuthBridge
TLS_RBAC: Final = "tls_rbac"  # ECDS slot, network, TLS chain of outbound
TLS_SNI: Final = "tls_sni"  # ECDS slot, network, TLS chain of outbound
EXTENSIONS: Final = (JWT, TLS_RBAC, TLS_SNI)
"""Slots that ECDS fills."""

# Headers
PORT_HEADER: Final = "x-kagenti-dport"
"""Set by us on every inbound request to the port that the caller dialled; overwritten, and taken off again."""
DIRECTION_HEADER: Final = "x-authbridge-direction"

# Ports
PROCESSOR_PORT: Final = wellknown.PROCESSOR_PORT
STATUS_PORT: Final = wellknown.STATUS_PORT

# Files
ADMIN_SOCKET: Final = "/tmp/envoy-admin.sock"  # noqa: S108  # in Envoy's own container, mode 0600
TOKEN_FILE: Final = "/var/run/secrets/kagenti/xds-token"  # noqa: S105  # a path, not a password
SDS_FILE: Final = "/etc/envoy/sds-token.yaml"

# Paths of settings
INTERCEPTION: Final = "identity.outbound.trafficInterception"
EXCHANGE: Final = "identity.outbound.tokenExchange"
VALIDATION: Final = "identity.inbound.validation"

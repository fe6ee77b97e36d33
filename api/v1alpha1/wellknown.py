"""Every name that kagenti puts on, or reads from, other people's objects: one page.

Labels and annotations share one prefix, so that a renamed project changes one line.
"""

from typing import Final

GROUP: Final = "kagenti.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
PREFIX: Final = f"{GROUP}/"

# Labels
INJECT_LABEL: Final = f"{PREFIX}inject"
INJECT_ENABLED: Final = "enabled"
INJECT_DISABLED: Final = "disabled"
TYPE_LABEL: Final = f"{PREFIX}type"
MANAGED_LABEL: Final = f"{PREFIX}managed"
ENROLLED_LABEL: Final = f"{PREFIX}enrolled"
BREAK_GLASS_LABEL: Final = f"{PREFIX}break-glass"
# Opt-out labels per component; the value "false" removes the component, nothing adds one.
COMPONENT_OPT_OUT_LABELS: Final = {
    "spiffeHelper": f"{PREFIX}spiffe-helper-inject",
    "clientRegistration": f"{PREFIX}client-registration-inject",
    "envoyProxy": f"{PREFIX}envoy-proxy-inject",
    "proxyInit": f"{PREFIX}proxy-init-inject",
}

# Annotations
RECEIPT_ANNOTATION: Final = f"{PREFIX}injected"
CONFIG_HASH_ANNOTATION: Final = f"{PREFIX}config-hash"
INJECTED_AT_ANNOTATION: Final = f"{PREFIX}injected-at"
OUTBOUND_PORTS_EXCLUDE_ANNOTATION: Final = f"{PREFIX}outbound-ports-exclude"
INBOUND_PORTS_EXCLUDE_ANNOTATION: Final = f"{PREFIX}inbound-ports-exclude"
CONFIG_PREFIX: Final = f"config.{GROUP}/"
ENVOY_CONFIG_ANNOTATION: Final = f"{CONFIG_PREFIX}envoy.yaml"
HELPER_CONFIG_ANNOTATION: Final = f"{CONFIG_PREFIX}helper.conf"
SDS_TOKEN_ANNOTATION: Final = f"{CONFIG_PREFIX}sds-token.yaml"
ROUTES_ANNOTATION: Final = f"{CONFIG_PREFIX}routes.yaml"

# Containers (reference: authbridge-contract §1)
SPIFFE_HELPER: Final = "spiffe-helper"
CLIENT_REGISTRATION: Final = "kagenti-client-registration"
ENVOY_PROXY: Final = "envoy-proxy"
PROXY_INIT: Final = "proxy-init"
RESERVED_CONTAINERS: Final = (SPIFFE_HELPER, CLIENT_REGISTRATION, ENVOY_PROXY, PROXY_INIT)

# Users
HELPER_USER: Final = 1000
HELPER_GROUP: Final = 1337
"""User and group of spiffe-helper and client-registration; together exempt from interception, for they reach the identity
provider whatever the policy (spec 05). The group is also what /opt and /shared are readable by."""

# Volumes
SVID_VOLUME: Final = "kagenti-svid"
SHARED_VOLUME: Final = "kagenti-shared"
CONFIG_VOLUME_PREFIX: Final = "kagenti-config-"
TOKEN_VOLUME: Final = "kagenti-tokens"  # noqa: S105  # a volume name, not a password
WORKLOAD_API_VOLUME: Final = "kagenti-workload-api"
CREDENTIALS_VOLUME: Final = "kagenti-credentials"
RESERVED_VOLUME_PREFIX: Final = "kagenti-"

# Ports and paths
STATUS_PORT: Final = 15021
PROCESSOR_PORT: Final = 9090
"""With AuthBridge the image's external processor listens there on all interfaces (reference: authbridge-contract 3.4)."""
XDS_PORT: Final = 15010
XDS_AUDIENCE: Final = "kagenti-xds"

# Namespaces that no entry ever covers (spec 03), the release's own besides.
SYSTEM_NAMESPACES: Final = ("kube-system", "kube-public", "kube-node-lease")

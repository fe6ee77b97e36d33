"""What the resources of one Envoy are made from, and what one resource is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from kagenti.core.envoy.layout import JSON, LAYOUT, ResourceType
from kagenti.core.installation import Installation
from kagenti.core.settings import WorkloadValues
from kagenti.core.settings.model import ResolvedSettings


@dataclass(frozen=True, slots=True)
class Resource:
    """One dynamic resource; ``body`` is the message in JSON form, its own name included."""

    type: ResourceType
    name: str
    body: JSON


@dataclass(frozen=True, slots=True)
class Proxy:
    """Everything that decides what one Envoy gets; equal proxies get equal resources.

    ``settings`` are those of this pod: the restart part of its receipt, the live part of today
    (``settings.pod.for_pod``). ``port_mapping`` (dialled port → app port, at most one) and ``bypasses`` (probe path,
    port) come from the receipt. ``keys`` is a JWKS document (RFC 7517 section 5); None withholds the extension ``jwt``.
    ``credentials_secret``: client id and secret are a Secret of the user's, not our registration's. ``namespaces`` are
    the known namespaces, by which ``name.namespace`` counts as inside the cluster. ``layout`` is the pod's.
    """

    settings: ResolvedSettings
    values: WorkloadValues
    installation: Installation
    port_mapping: Mapping[int, int] = field(default_factory=dict)
    bypasses: tuple[tuple[str, int], ...] = ()
    keys: str | None = None
    credentials_secret: bool = False
    namespaces: Collection[str] = ()
    layout: int = LAYOUT

"""What is injected: the switches, and the injected containers one by one."""

from typing import Annotated, Literal

from pydantic import Field

from .marks import CLUSTER_ONLY, RESTART
from .model import Model
from .scalars import DnsName, Image, Quantity, RegistryPrefix


class Injection(Model):
    """What is injected, and from where its images come."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether triggered pods are injected; false leaves them as they are (reason InjectionDisabled)."""
    types: Annotated[Annotated[list[Literal["agent", "tool"]], Field(max_length=2)] | None, RESTART] = None
    """Values of the label kagenti.io/type that are injected; a pod without the label is never excluded.
    Example: [agent]."""
    token_exchange: Annotated[Literal["Envoy", "AuthBridge"] | None, RESTART] = None
    """Who performs RFC 8693 token exchange: Envoy itself, or the external processor of the AuthBridge image."""
    image_registry: Annotated[RegistryPrefix | None, CLUSTER_ONLY] = None
    """Prefix that replaces the registry of every default image, for mirrors, for example mirror.example/kagenti."""
    image_pull_secrets: Annotated[Annotated[list[DnsName], Field(max_length=16)] | None, CLUSTER_ONLY] = None
    """Names of pull secrets appended to the pod's imagePullSecrets; absent adds none. Example: [mirror-pull]."""


class ResourceAmounts(Model):
    """Amounts of CPU and memory."""

    cpu: Annotated[Quantity | None, RESTART] = None
    """CPU, for example 50m."""
    memory: Annotated[Quantity | None, RESTART] = None
    """Memory, for example 64Mi."""


class Resources(Model):
    """Resources of one injected container; each amount is merged by itself."""

    requests: ResourceAmounts | None = None
    """What the scheduler reserves."""
    limits: ResourceAmounts | None = None
    """What the container may use at most."""


class Component(Model):
    """One injected container."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether this container is injected when its feature is on."""
    image: Annotated[Image | None, CLUSTER_ONLY] = None
    """Image of this container; absent means the pinned default that `kagenti images` lists.
    Example: mirror.example/envoy:v1.40.0."""
    image_pull_policy: Annotated[Literal["Always", "IfNotPresent", "Never"] | None, CLUSTER_ONLY] = None
    """Pull policy of this container."""
    resources: Resources | None = None
    """Requests and limits of this container."""


class Components(Model):
    """The injected containers one by one."""

    proxy_init: Component | None = None
    """Init container that redirects the pod's TCP traffic to Envoy."""
    spiffe_helper: Component | None = None
    """Sidecar that keeps the workload's SVIDs fresh."""
    client_registration: Component | None = None
    """Sidecar that registers the workload as an OAuth client."""
    envoy_proxy: Component | None = None
    """Sidecar that validates inbound and exchanges tokens outbound."""

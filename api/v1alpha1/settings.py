"""The layered block ``RuntimeSettings``: the same type in the cluster, namespace and workload layer.

Every field is optional at every layer and carries a Mark; defaults live in ``built_in`` only, never in a schema.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from .marks import BOTH, CLUSTER_ONLY, LIVE, RESTART, Mark
from .model import SET, Cel, Model, refuse_duplicates
from .scalars import (
    Audience,
    BypassPath,
    DnsLabel,
    DnsName,
    Endpoint,
    HostPattern,
    HttpPath,
    Image,
    LongText,
    NameTemplate,
    Port,
    Quantity,
    Rate,
    RegistryPrefix,
    Scope,
    SocketPath,
    Text,
    Url,
    UserId,
)

Scopes = Annotated[list[Scope], Field(max_length=64, json_schema_extra=SET), AfterValidator(refuse_duplicates)]
Ports = Annotated[list[Port], Field(max_length=64, json_schema_extra=SET), AfterValidator(refuse_duplicates)]


class Injection(Model):
    """What is injected, and from where its images come."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether triggered pods are injected; false leaves them as they are (reason InjectionDisabled)."""
    types: Annotated[Annotated[list[Literal["agent", "tool"]], Field(max_length=2)] | None, RESTART] = None
    """Values of the label kagenti.io/type that are injected; a pod without the label is never excluded."""
    token_exchange: Annotated[Literal["Envoy", "AuthBridge"] | None, RESTART] = None
    """Who performs RFC 8693 token exchange: Envoy itself, or the external processor of the AuthBridge image."""
    image_registry: Annotated[RegistryPrefix | None, CLUSTER_ONLY] = None
    """Prefix that replaces the registry of every default image, for mirrors, for example mirror.example/kagenti."""
    image_pull_secrets: Annotated[Annotated[list[DnsName], Field(max_length=16)] | None, CLUSTER_ONLY] = None
    """Names of pull secrets appended to the pod's imagePullSecrets; absent adds none."""


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
    """Image of this container; absent means the pinned default that `kagenti images` lists."""
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


class Spiffe(Model):
    """SPIFFE identity of the workload."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the workload gets a SPIFFE identity from SPIRE."""
    trust_domain: Annotated[DnsName | None, RESTART] = None
    """Trust domain of SPIRE, for example prod.example.org; SPIRE decides it, this field must name the same."""
    jwt_audience: Annotated[Audience | None, RESTART] = None
    """Audience of the JWT-SVID; absent means the issuer."""
    source: Annotated[Literal["CSI", "HostPath"] | None, CLUSTER_ONLY] = None
    """How the Workload API socket reaches the pod: the CSI driver csi.spiffe.io, or a hostPath."""
    socket_path: Annotated[SocketPath | None, CLUSTER_ONLY] = None
    """Socket of the SPIRE agent on the node, used with source HostPath."""


class Keycloak(Model):
    """Where and how the workload is registered as an OAuth client."""

    url: Annotated[Url | None, RESTART] = None
    """Base URL of Keycloak; the layer that sets it must also set every credential reference in use."""
    realm: Annotated[DnsLabel | None, RESTART] = None
    """Realm of the workload's client."""
    admin_credentials_secret: Annotated[DnsName | None, RESTART] = None
    """Secret in the pod's namespace with KEYCLOAK_ADMIN_USERNAME and KEYCLOAK_ADMIN_PASSWORD."""
    client_name_template: Annotated[NameTemplate | None, RESTART] = None
    """Client name; placeholders {{.Namespace}}, {{.WorkloadName}}, {{.WorkloadKind}}, {{.PodName}}."""
    token_exchange_enabled: Annotated[bool | None, RESTART] = None
    """Whether the registered client may exchange tokens."""
    platform_client_ids: Annotated[Annotated[list[Text], Field(max_length=32)] | None, RESTART] = None
    """Clients that get this workload's audience scope."""


class ClientRegistration(Model):
    """Registration with the identity provider."""

    provider: Annotated[Literal["keycloak"] | None, RESTART] = None
    """Kind of identity provider."""
    credentials_secret: Annotated[DnsName | None, RESTART] = None
    """Secret with client-id.txt and client-secret.txt; when set, nothing is registered, the Secret is mounted."""
    auth_type: Annotated[Literal["client-secret", "federated-jwt"] | None, RESTART] = None
    """How the client authenticates at the token endpoint."""
    idp_alias: Annotated[Text | None, RESTART] = None
    """Alias of the identity provider in Keycloak, used with federated-jwt."""
    keycloak: Keycloak | None = None
    """Settings of Keycloak."""


class InboundValidation(Model):
    """What a caller's token must show."""

    issuer: Annotated[Url | None, LIVE] = None
    """Accepted issuer; absent means derived from Keycloak URL and realm."""
    jwks_url: Annotated[Url | None, LIVE] = None
    """Where the issuer's keys are; absent means derived from Keycloak URL and realm."""
    audience: Annotated[Audience | None, LIVE] = None
    """Required audience; "self" is the workload's own client id."""
    required_scopes: Annotated[Scopes | None, LIVE] = None
    """Scopes that a token must carry, every one of them; absent means none."""
    bypass_paths: Annotated[Annotated[list[BypassPath], Field(max_length=64)] | None, LIVE] = None
    """Paths served without a token: exact, or with a trailing /* for one segment."""


class Inbound(Model):
    """Inbound traffic."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether inbound requests are validated."""
    port: Annotated[Port | None, RESTART] = None
    """Port that additionally reaches targetPort, unless an app container declares it itself."""
    target_port: Annotated[Port | None, RESTART] = None
    """Port of the app that requests to `port` are sent to."""
    exclude_ports: Annotated[Ports | None, RESTART] = None
    """Ports of the app that are neither intercepted nor validated."""
    validation: InboundValidation | None = None
    """Token validation."""


class TrafficInterception(Model):
    """How the pod's TCP traffic is redirected."""

    proxy_port: Annotated[Port | None, RESTART] = None
    """Envoy's outbound port."""
    inbound_proxy_port: Annotated[Port | None, RESTART] = None
    """Envoy's inbound port."""
    proxy_uid: Annotated[UserId | None, RESTART] = None
    """User of Envoy, exempt from interception; no app container may run as it."""
    exclude_ports: Annotated[Ports | None, RESTART] = None
    """Destination ports that are not intercepted."""


class DefaultTarget(Model):
    """Token for destinations without a rule, under the policy Exchange."""

    audience: Annotated[Audience | None, LIVE] = None
    """Audience asked for."""
    scopes: Annotated[Scopes | None, LIVE] = None
    """Scopes asked for; absent asks for none."""


class RuleMatch(Model):
    """Which destination a rule is about; unique among the rules."""

    host: HostPattern
    """Exact host, or *.suffix; exact wins, then the longest suffix."""
    port: Port | None = None
    """Destination port; absent means any."""


class RuleTarget(Model):
    """The token that a rule asks for."""

    audience: Audience
    """Audience asked for; the answer must contain it."""
    scopes: Scopes | None = None
    """Scopes asked for; absent asks for none."""
    token_url: Url | None = None
    """Token endpoint of this rule; must have the origin of the Keycloak URL, or be listed by the cluster."""


class UpstreamTls(Model):
    """TLS towards the destination."""

    tls: Literal["Auto", "Off"] | None = None
    """Auto: TLS to hosts outside the cluster, plain inside; Off: never."""


class DestinationRule(Model):
    """What happens to requests to one destination."""

    match: RuleMatch
    """Which destination."""
    action: Literal["Exchange", "Passthrough", "Deny"] | None = None
    """What is done; absent means Exchange."""
    target: RuleTarget | None = None
    """The token asked for, with action Exchange."""
    on_missing_token: Literal["Deny", "ClientCredentials"] | None = None
    """What is done for a caller without a token; absent means Deny."""
    upstream: UpstreamTls | None = None
    """TLS towards the destination."""


class TokenExchange(Model):
    """RFC 8693 token exchange."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "!has(self.destinationRules) || self.destinationRules.all(a, self.destinationRules.exists_one(b, "
            "a.match.host == b.match.host && has(a.match.port) == has(b.match.port) && "
            "(!has(a.match.port) || a.match.port == b.match.port)))",
            "destinationRules must be unique by match.host and match.port",
            ".destinationRules",
        ),
    )

    enabled: Annotated[bool | None, LIVE] = None
    """Whether tokens are exchanged."""
    token_url: Annotated[Url | None, LIVE] = None
    """Token endpoint; absent means derived from Keycloak URL and realm."""
    default_target: DefaultTarget | None = None
    """Token for destinations without a rule, under the policy Exchange."""
    destination_rules: Annotated[
        Annotated[list[DestinationRule], Field(max_length=128)] | None, Mark("live", merge="listByKey")
    ] = None
    """Rules by destination; layers merge by (match.host, match.port)."""


class Outbound(Model):
    """Outbound traffic."""

    traffic_interception: TrafficInterception | None = None
    """How traffic is redirected to Envoy."""
    default_policy: Annotated[Literal["Passthrough", "Exchange", "Deny"] | None, LIVE] = None
    """What happens to destinations without a rule. Binds cooperative apps; use NetworkPolicy to enforce egress."""
    token_exchange: TokenExchange | None = None
    """Token exchange."""


class Identity(Model):
    """Identity of the workload."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the workload gets an identity; false leaves tracing only."""
    spiffe: Spiffe | None = None
    """SPIFFE identity."""
    client_registration: ClientRegistration | None = None
    """OAuth client."""
    inbound: Inbound | None = None
    """Inbound validation."""
    outbound: Outbound | None = None
    """Outbound policy and token exchange."""


class Exporter(Model):
    """Where traces go."""

    type: Literal["otlp", "jaeger"]
    """Protocol family; jaeger is sent as OTLP."""
    endpoint: Endpoint
    """host:port or URL of the collector."""
    protocol: Literal["grpc", "http/protobuf"] | None = None
    """OTLP transport; absent means grpc."""
    compression: Literal["gzip", "none"] | None = None
    """Compression; absent means none."""


class Sampling(Model):
    """Which traces are kept."""

    type: Annotated[Literal["probabilistic"] | None, BOTH] = None
    """How traces are chosen."""
    rate: Annotated[Rate | None, BOTH] = None
    """Share of traces kept, 0 to 1, parent-based."""


class GenAi(Model):
    """What instrumentation of generative AI records."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the GenAI semantic conventions are asked for."""
    capture_prompts: Annotated[bool | None, RESTART] = None
    """Whether prompts are recorded."""
    capture_completions: Annotated[bool | None, RESTART] = None
    """Whether completions are recorded."""
    capture_model_parameters: Annotated[bool | None, RESTART] = None
    """Whether model parameters are recorded."""


class MlFlow(Model):
    """MLflow tracking."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the app is pointed to MLflow."""
    tracking_uri: Annotated[Url | None, RESTART] = None
    """MLFLOW_TRACKING_URI."""
    experiment_name: Annotated[Text | None, RESTART] = None
    """MLFLOW_EXPERIMENT_NAME."""


class Phoenix(Model):
    """Arize Phoenix."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the app is pointed to Phoenix."""
    endpoint: Annotated[Url | None, RESTART] = None
    """PHOENIX_COLLECTOR_ENDPOINT."""
    project_name: Annotated[Text | None, RESTART] = None
    """PHOENIX_PROJECT_NAME."""


class Prometheus(Model):
    """Prometheus scraping of the app."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether scrape annotations are put on the pod."""
    port: Annotated[Port | None, BOTH] = None
    """Port of the app's metrics; bypasses inbound validation together with the path."""
    path: Annotated[HttpPath | None, BOTH] = None
    """Path of the app's metrics."""


class Integration(Model):
    """Other observability systems."""

    mlflow: MlFlow | None = None
    """MLflow."""
    phoenix: Phoenix | None = None
    """Phoenix."""
    prometheus: Prometheus | None = None
    """Prometheus."""


class Trace(Model):
    """Observability of the workload."""

    exporters: Annotated[Annotated[list[Exporter], Field(max_length=8)] | None, BOTH] = None
    """Collectors; absent inherits, an empty list means none. The first otlp exporter is in effect."""
    sampling: Sampling | None = None
    """Sampling."""
    genai: GenAi | None = None
    """Generative AI instrumentation."""
    resource_attributes: Annotated[
        Annotated[dict[str, LongText], Field(max_length=64)] | None, Mark("restart", merge="mapByKey")
    ] = None
    """OpenTelemetry resource attributes; layers merge by key."""
    integration: Integration | None = None
    """Other systems."""


class RuntimeSettings(Model):
    """The layered block; a field that is absent inherits from the layers above."""

    injection: Injection | None = None
    """What is injected."""
    components: Components | None = None
    """The injected containers."""
    identity: Identity | None = None
    """Identity and traffic."""
    trace: Trace | None = None
    """Observability."""

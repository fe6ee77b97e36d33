"""Identity of a workload and its traffic: SPIFFE, OAuth client, inbound validation, outbound token exchange."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from .marks import CLUSTER_ONLY, LIVE, RESTART, Mark
from .model import SET, Cel, Model, refuse_duplicates
from .scalars import (
    Audience,
    BypassPath,
    DnsLabel,
    DnsName,
    HostPattern,
    NameTemplate,
    Port,
    Scope,
    SocketPath,
    Text,
    Url,
    UserId,
)

Scopes = Annotated[list[Scope], Field(max_length=64, json_schema_extra=SET), AfterValidator(refuse_duplicates)]
Ports = Annotated[list[Port], Field(max_length=64, json_schema_extra=SET), AfterValidator(refuse_duplicates)]


class Spiffe(Model):
    """SPIFFE identity of the workload."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether the workload gets a SPIFFE identity from SPIRE."""
    trust_domain: Annotated[DnsName | None, RESTART] = None
    """Trust domain of SPIRE, for example prod.example.org; SPIRE decides it, this field must name the same."""
    jwt_audience: Annotated[Audience | None, RESTART] = None
    """Audience of the JWT-SVID; absent means the issuer. Example: https://idp.example/realms/prod."""
    source: Annotated[Literal["CSI", "HostPath"] | None, CLUSTER_ONLY] = None
    """How the Workload API socket reaches the pod: the CSI driver csi.spiffe.io, or a hostPath."""
    socket_path: Annotated[SocketPath | None, CLUSTER_ONLY] = None
    """Socket of the SPIRE agent on the node, used with source HostPath.
    Example: unix:///run/spire/agent-sockets/agent.sock."""


class Keycloak(Model):
    """Where and how the workload is registered as an OAuth client."""

    url: Annotated[Url | None, RESTART] = None
    """Base URL of Keycloak; the layer that sets it must also set every credential reference in use.
    Example: https://idp.example."""
    realm: Annotated[DnsLabel | None, RESTART] = None
    """Realm of the workload's client. Example: prod."""
    admin_credentials_secret: Annotated[DnsName | None, RESTART] = None
    """Secret in the pod's namespace with KEYCLOAK_ADMIN_USERNAME and KEYCLOAK_ADMIN_PASSWORD.
    Example: team1-keycloak-admin."""
    client_name_template: Annotated[NameTemplate | None, RESTART] = None
    """Client name; placeholders {{.Namespace}}, {{.WorkloadName}}, {{.WorkloadKind}}, {{.PodName}}.
    Example: {{.Namespace}}/{{.WorkloadName}}."""
    token_exchange_enabled: Annotated[bool | None, RESTART] = None
    """Whether the registered client may exchange tokens."""
    platform_client_ids: Annotated[Annotated[list[Text], Field(max_length=32)] | None, RESTART] = None
    """Clients that get this workload's audience scope. Example: [kagenti-ui]."""


class ClientRegistration(Model):
    """Registration with the identity provider."""

    provider: Annotated[Literal["keycloak"] | None, RESTART] = None
    """Kind of identity provider."""
    credentials_secret: Annotated[DnsName | None, RESTART] = None
    """Secret with client-id.txt and client-secret.txt; when set, nothing is registered, the Secret is mounted.
    Example: weather-client."""
    auth_type: Annotated[Literal["client-secret", "federated-jwt"] | None, RESTART] = None
    """How the client authenticates at the token endpoint."""
    idp_alias: Annotated[Text | None, RESTART] = None
    """Alias of the identity provider in Keycloak, used with federated-jwt. Example: spire-prod."""
    keycloak: Keycloak | None = None
    """Settings of Keycloak."""


class InboundValidation(Model):
    """What a caller's token must show."""

    issuer: Annotated[Url | None, LIVE] = None
    """Accepted issuer; absent means derived from Keycloak URL and realm. Example: https://idp.example/realms/prod."""
    jwks_url: Annotated[Url | None, LIVE] = None
    """Where the issuer's keys are; absent means derived from Keycloak URL and realm.
    Example: https://idp.example/realms/prod/protocol/openid-connect/certs."""
    audience: Annotated[Audience | None, LIVE] = None
    """Required audience; "self" is the workload's own client id. Example: https://weather.example."""
    required_scopes: Annotated[Scopes | None, LIVE] = None
    """Scopes that a token must carry, every one of them; absent means none. Example: [weather-read]."""
    bypass_paths: Annotated[Annotated[list[BypassPath], Field(max_length=64)] | None, LIVE] = None
    """Paths served without a token: exact, or with a trailing /* for one segment.
    Example: [/healthz, /.well-known/*]."""


class Inbound(Model):
    """Inbound traffic."""

    enabled: Annotated[bool | None, RESTART] = None
    """Whether inbound requests are validated."""
    port: Annotated[Port | None, RESTART] = None
    """Port that additionally reaches targetPort, unless an app container declares it itself. Example: 8080."""
    target_port: Annotated[Port | None, RESTART] = None
    """Port of the app that requests to `port` are sent to. Example: 8081."""
    exclude_ports: Annotated[Ports | None, RESTART] = None
    """Ports of the app that are neither intercepted nor validated. Example: [9090]."""
    validation: InboundValidation | None = None
    """Token validation."""


class TrafficInterception(Model):
    """How the pod's TCP traffic is redirected."""

    proxy_port: Annotated[Port | None, RESTART] = None
    """Envoy's outbound port. Example: 15123."""
    inbound_proxy_port: Annotated[Port | None, RESTART] = None
    """Envoy's inbound port. Example: 15124."""
    proxy_uid: Annotated[UserId | None, RESTART] = None
    """User of Envoy, exempt from interception; no app container may run as it. Example: 1337."""
    exclude_ports: Annotated[Ports | None, RESTART] = None
    """Destination ports that are not intercepted. Example: [9090]."""


class DefaultTarget(Model):
    """Token for destinations without a rule, under the policy Exchange."""

    audience: Annotated[Audience | None, LIVE] = None
    """Audience asked for. Example: downstream-service."""
    scopes: Annotated[Scopes | None, LIVE] = None
    """Scopes asked for; absent asks for none. Example: [weather-read]."""


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
    """Auto: TLS to hosts outside the cluster, plain inside; "Off", in quotes since YAML reads a bare Off as false: never."""


class DestinationRule(Model):
    """What happens to requests to one destination."""

    RULES: ClassVar[tuple[Cel, ...]] = (
        Cel(
            "(has(self.action) && self.action != 'Exchange') || has(self.target)",
            "action Exchange, which is also the default, needs target.audience: the audience to ask a token for",
            ".target",
        ),
    )

    match: RuleMatch
    """Which destination."""
    action: Literal["Exchange", "Passthrough", "Deny"] | None = None
    """What is done; absent means Exchange."""
    target: RuleTarget | None = None
    """The token asked for; required with action Exchange."""
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
    """Token endpoint; absent means derived from Keycloak URL and realm.
    Example: https://idp.example/realms/prod/protocol/openid-connect/token."""
    default_target: DefaultTarget | None = None
    """Token for destinations without a rule, under the policy Exchange."""
    destination_rules: Annotated[
        Annotated[list[DestinationRule], Field(max_length=128)] | None, Mark("live", merge="listByKey")
    ] = None
    """Rules by destination; layers merge by (match.host, match.port).
    Example: [{match: {host: tool.team1.svc}, target: {audience: tool}}]."""


class Outbound(Model):
    """Outbound traffic."""

    traffic_interception: TrafficInterception | None = None
    """How traffic is redirected to Envoy."""
    default_policy: Annotated[Literal["Passthrough", "Exchange", "Deny"] | None, LIVE] = None
    """What happens to destinations without a rule. Binds cooperative apps, and TCP only; use NetworkPolicy to enforce egress."""
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

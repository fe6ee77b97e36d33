"""Resolved settings → destinations: which rule answers for a host and a port, in the order in which Envoy tries them.

A rule with an exact host stands before the longest suffix, within one pattern a port before none (spec 02, as Envoy does).
Behind all rules come the passes (identity provider, collector), then the default policy.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal

from kagenti.core.envoy import tracing
from kagenti.core.envoy.layout import EXCHANGE, JSON
from kagenti.core.settings import inside
from kagenti.core.settings.identity_provider import origin_of
from kagenti.core.settings.merge import rule_path
from kagenti.core.settings.model import LAYER_ORDER, ResolvedSettings

Action = Literal["Exchange", "Passthrough", "Deny"]
POLICY: Final = "identity.outbound.defaultPolicy"
_KEYCLOAK: Final = "identity.clientRegistration.keycloak"
_RULES: Final = f"{EXCHANGE}.destinationRules"
_PROVIDER_URLS: Final = (
    f"{_KEYCLOAK}.url",
    "identity.inbound.validation.issuer",
    "identity.inbound.validation.jwksUrl",
    f"{EXCHANGE}.tokenUrl",
)


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination: a host (exact or ``*.suffix``), a port or any, and what happens to requests to it.

    ``tls`` says whether Envoy originates TLS; ``name`` is for route names and the access log.
    """

    host: str
    port: int | None
    action: Action
    tls: bool
    name: str
    audience: str = ""
    scopes: tuple[str, ...] = ()
    token_url: str = ""
    on_missing_token: Literal["Deny", "ClientCredentials"] = "Deny"  # noqa: S105  # a choice, not a password

    @property
    def suffix(self) -> str:
        """The suffix with its leading dot, or empty for an exact host."""
        return self.host[1:] if self.host.startswith("*.") else ""


@dataclass(frozen=True)
class Destinations:
    """What the settings say about egress; ``default`` is what happens to hosts that nothing names."""

    rules: tuple[Destination, ...]
    passes: tuple[Destination, ...]
    default: Destination

    def patterns(self) -> tuple[str, ...]:
        """Returns the hosts that rules and passes name, sorted."""
        return tuple(sorted({found.host for found in (*self.rules, *self.passes)}))

    def answering(self, pattern: str) -> Iterator[Destination]:
        """Yields what answers for the hosts of a pattern, the first match wins; ends with one that takes any port."""
        for group in (self._rules, self._passes):
            for host in generalised(pattern):
                for found in group.get(host, ()):
                    yield found
                    if found.port is None:
                        return
        yield self.default

    @cached_property
    def _rules(self) -> Mapping[str, Sequence[Destination]]:
        return _by_host(self.rules)

    @cached_property
    def _passes(self) -> Mapping[str, Sequence[Destination]]:
        return _by_host(self.passes)


def _by_host(destinations: Iterable[Destination]) -> Mapping[str, Sequence[Destination]]:
    """Returns the destinations of each host, those with a port first."""
    found: dict[str, list[Destination]] = {}
    for one in sorted(destinations, key=lambda one: (one.port is None, one.port or 0)):
        found.setdefault(one.host, []).append(one)
    return found


def generalised(pattern: str) -> Iterator[str]:
    """Yields the pattern and every suffix pattern that covers it, the longest first."""
    yield pattern
    suffix = pattern.removeprefix("*.")
    while "." in suffix:
        suffix = suffix.partition(".")[2]
        yield f"*.{suffix}"


def covers(general: str, pattern: str) -> bool:
    """Whether each host of ``pattern`` is one of ``general``; ``*.a`` covers ``b.a`` and ``c.b.a``, not ``a``."""
    return general == pattern or (general.startswith("*.") and pattern.endswith(general[1:]))


def within(pattern: str, *, cluster_domain: str, namespaces: Collection[str]) -> bool:
    """Whether the hosts of a pattern are inside the cluster; ``*.com`` stands for ``x.com``, never for one label."""
    host = f"x{pattern[1:]}" if pattern.startswith("*.") else pattern
    return inside(host, cluster_domain=cluster_domain, namespaces=namespaces)


def destinations(settings: ResolvedSettings, *, cluster_domain: str, namespaces: Collection[str]) -> Destinations:
    """Returns the destinations of a workload; without identity everything passes (tracing only)."""
    if not settings.flag("identity.enabled"):
        return Destinations((), (), Destination("*", None, "Passthrough", tls=False, name="default"))
    exchanging = settings.flag(f"{EXCHANGE}.enabled")
    rules = tuple(
        _rule(rule, settings, cluster_domain=cluster_domain, namespaces=namespaces)
        for rule in settings.items(_RULES)
        # Where exchange is switched off, such a rule has no effect: its host follows the default policy.
        if exchanging or (rule.get("action") or "Exchange") != "Exchange"
    )
    policy: Action = settings[POLICY]
    default = Destination(
        "*",
        None,
        policy,
        tls=policy == "Exchange",
        name="default",
        audience=settings.text(f"{EXCHANGE}.defaultTarget.audience"),
        scopes=settings.items(f"{EXCHANGE}.defaultTarget.scopes"),
        token_url=settings.text(f"{EXCHANGE}.tokenUrl"),
    )
    passes = () if policy == "Passthrough" else tuple(_passes(settings))
    return Destinations(rules, passes, default)


def _rule(
    rule: Mapping[str, JSON], settings: ResolvedSettings, *, cluster_domain: str, namespaces: Collection[str]
) -> Destination:
    match, target = rule["match"], rule.get("target") or {}
    off = (rule.get("upstream") or {}).get("tls") == "Off"
    return Destination(
        match["host"],
        match.get("port"),
        rule.get("action") or "Exchange",
        tls=not off and not within(match["host"], cluster_domain=cluster_domain, namespaces=namespaces),
        name=rule_path(rule).removeprefix(_RULES),
        audience=target.get("audience") or "",
        scopes=tuple(target.get("scopes") or ()),
        token_url=target.get("tokenUrl") or settings.text(f"{EXCHANGE}.tokenUrl"),
        on_missing_token=rule.get("onMissingToken") or "Deny",
    )


def _passes(settings: ResolvedSettings) -> Iterator[Destination]:
    """Yields the identity provider and the collector, as far as the layer of the policy, or one above, gave them."""
    limit = _rank(settings, POLICY)
    for host, port in sorted({address for path, address in _own(settings) if _rank(settings, path) <= limit}):
        yield Destination(host, port, "Passthrough", tls=False, name=f"pass[{host}:{port}]")


def _own(settings: ResolvedSettings) -> Iterator[tuple[str, tuple[str, int]]]:
    """Yields path → (host, port) of what the workload itself needs."""
    for path, url in _urls(settings):
        origin = origin_of(url)
        if origin is not None:
            yield path, origin[1:]
    collector = tracing.collector(settings)
    if collector is not None and collector.host:
        yield "trace.exporters", (collector.host, collector.port)


def _urls(settings: ResolvedSettings) -> Iterator[tuple[str, str]]:
    for path in _PROVIDER_URLS:
        if settings.text(path):
            yield path, settings.text(path)
    for rule in settings.items(_RULES):
        url = (rule.get("target") or {}).get("tokenUrl")
        if url:
            yield rule_path(rule), url


def _rank(settings: ResolvedSettings, path: str) -> int:
    """Returns how low the layer of a value is; what today's layers do not give (a rule of the receipt) ranks lowest."""
    origin = settings.origins.get(path)
    return LAYER_ORDER.index(origin.source.layer if origin is not None else LAYER_ORDER[-1])

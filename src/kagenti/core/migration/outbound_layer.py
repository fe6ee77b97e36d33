"""Outbound policy and routes of an agent namespace → defaultPolicy and destinationRules: what the old processor did, not what was asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from kagenti.core.migration import chain, reasons, routes
from kagenti.core.migration.images import Processor
from kagenti.core.migration.installation import Old, OldNamespace
from kagenti.core.migration.keys import CONFIG, EXCHANGE, KEYCLOAK, POLICY, ROUTES, Key, key
from kagenti.core.migration.layer_spec import RULES, LayerSpec, fault_of
from kagenti.core.migration.routes import Decision, Outbound, Route

JSON = Any  # a destination rule

MOST_RULES: Final = 128
_FAIL_OPEN: Final = "without a client, audience, scopes or token URL calls were passed on unchanged: Passthrough"
_PLUGIN: Final = "token-exchange.default_policy"
_KEY: Final = "DEFAULT_OUTBOUND_POLICY"


@dataclass(slots=True)
class OutboundReader:
    """Carries policy and routes of one namespace into its spec, whose other values stand already.

    ``is_inside`` says of a host whether it is inside the cluster.
    """

    old: Old
    namespace: OldNamespace
    spec: LayerSpec
    processor: Processor
    is_inside: Callable[[str], bool]
    rules: dict[str, JSON] = field(default_factory=dict)

    def read(self) -> None:
        """Takes policy and routes; every field of every route is noted once."""
        was = self._was()
        self._policy(was)
        for number, route in enumerate(self.namespace.routes):
            hidden = routes.covered(route, self.namespace.routes[:number])
            if not self.processor.routes:
                self._note(route, Key("ignored", why="the processor of this image read no routes"))
            elif hidden is not None:
                self._note(route, Key("ignored", why=f"never reached: {hidden.host!r} before it takes its hosts"))
            else:
                self._rule(route, was)
        if self.rules:
            self.spec.values[RULES] = list(self.rules.values())

    def _was(self) -> Outbound:
        """Returns the outbound environment as far as the spec's values and the processor decide it."""
        config, plugins = self.namespace.config, self._plugins()
        policy = self._policy_written()
        realm, url = self.spec.values.get(f"{KEYCLOAK}.realm"), self.spec.values.get(f"{KEYCLOAK}.url")
        derived = f"{url.rstrip('/')}/realms/{realm}/protocol/openid-connect/token" if realm and url else ""
        token_url = self.spec.values.get(f"{EXCHANGE}.tokenUrl") or (derived if self.processor.derives else "")
        missing = "ClientCredentials"
        if self.old.era.consolidated:
            asks = plugins.get("token-exchange.no_token_policy") == "client-credentials"
            missing = "ClientCredentials" if asks else "Deny"
        return Outbound(
            exchanges=policy == "exchange" or not self.processor.default_policy,
            audience=config.get("TARGET_AUDIENCE", "").strip() if self.processor.targets else "",
            scopes=config.get("TARGET_SCOPES", "") if self.processor.targets else "",
            token_url=token_url if self._has_clients else "",
            on_missing_token=missing,
        )

    @property
    def _has_clients(self) -> bool:
        """Whether anybody registered clients in this installation; without one the processor passed every call on (3.4)."""
        return self.old.era.registration == "operator" or chain.gates_in_force(self.old)["clientRegistration"]

    def _policy_written(self) -> JSON:
        return self._plugins().get(_PLUGIN) or self.namespace.config.get(_KEY, "").strip()

    def _plugins(self) -> dict[str, JSON]:
        return dict(self.namespace.runtime.values) if self.namespace.runtime is not None else {}

    def _written(self) -> list[tuple[str, str]]:
        """Returns where the policy is written, the one that counts first."""
        places = []
        if self.namespace.runtime is not None and _PLUGIN in self.namespace.runtime.values:
            places.append((self.namespace.runtime.place, _PLUGIN))
        if self.namespace.config.get(_KEY, "").strip() and self.processor.default_policy:
            places.append((self.namespace.places[_KEY], _KEY))
        return places

    def _policy(self, was: Outbound) -> None:
        effect = was.of(None).action if was.exchanges else "Passthrough"
        written = self._written()
        for place, name in written[1:]:
            self.spec.report.take(place, name, Key("ignored", why="authbridge-runtime-config says it"))
        if not written:
            if effect == "Exchange":
                why = "the processor of this image exchanged for every host"
                self.spec.derive(POLICY, effect, f"webhook {self.old.era.name}", "policy (compiled in)", why)
            return
        place, name = written[0]
        opened = was.exchanges and effect == "Passthrough"
        row = Key("derived", POLICY, f"exchange {_FAIL_OPEN}") if opened else key(CONFIG, _KEY)
        if self._policy_written() not in ("exchange", "passthrough"):
            row = Key("derived", POLICY, "a value without a meaning counted as passthrough")
        self.spec.carry(POLICY, effect, place, name, row)

    def _note(self, route: Route, row: Key) -> None:
        """Notes every field of a route under one row."""
        given = {
            "host": route.host,
            "target_audience": route.audience,
            "token_scopes": route.scopes,
            "token_url": route.token_url,
            "action" if self.old.era.consolidated else "passthrough": route.passthrough,
        }
        for name in (name for name, value in given.items() if value):
            own = key(ROUTES, name) if row.verdict == "carried" else row
            self.spec.report.take(route.place, name, own, to=row.to)

    def _rule(self, route: Route, was: Outbound) -> None:
        host, decision = routes.suffix_of(route.host), was.of(route)
        refused = self._refused(host)
        rule = self._made(host, route, decision) if host is not None and not refused else {}
        fault = fault_of(RULES, [rule]) if rule else ""
        if refused or fault or host is None:
            self._note(route, Key("impossible", why=refused or f"a destination rule cannot hold it: {fault}"))
            reason = reasons.GLOB_DROPPED if refused else reasons.NOT_CARRIED
            self.spec.lost[f"{RULES}[{route.host}]"] = reason
            return
        self.rules[host] = rule
        self.spec.sources[f"{RULES}[{host}]"] = (route.place, "host")
        opened = decision.action == "Passthrough" and not route.passthrough
        path = f"{RULES}[{host}]"
        self._note(route, Key("derived", path, _FAIL_OPEN) if opened else Key("carried", path))
        if host.startswith("*.") and not route.host.startswith("**."):
            message = f"{route.host!r} meant one label, {host!r} means any number"
            self.spec.report.warn(reasons.GLOB_WIDENED, route.place, message, path)

    def _refused(self, host: str | None) -> str:
        """Returns why a route cannot become a rule; empty where it can."""
        if host is None:
            return "its glob is neither a host nor *.suffix: write the hosts that it meant as destinationRules"
        if host in self.rules:
            return f"another glob became the rule for {host!r} already: write the hosts apart"
        return f"an object holds {MOST_RULES} rules" if len(self.rules) == MOST_RULES else ""

    def _made(self, host: str, route: Route, decision: Decision) -> JSON:
        rule: dict[str, JSON] = {"match": {"host": host}, "action": decision.action}
        if decision.action == "Exchange":
            target = {"audience": decision.audience, "scopes": list(decision.scopes)}
            rule |= {"target": target, "onMissingToken": decision.on_missing_token}
            if route.token_url:
                rule["target"]["tokenUrl"] = route.token_url
        elif not self.is_inside(f"x{host[1:]}" if host.startswith("*.") else host):
            rule["upstream"] = {"tls": "Off"}  # plain before, plain now: no token of ours is on it
        return rule

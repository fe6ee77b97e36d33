"""Random old installations: what comes out means what the old webhook did, but for differences that the tool explains."""

import json
from typing import Any

from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from kagenti.core import settings
from kagenti.core.layers import parse
from kagenti.core.migration import chain, eras, keys, reasons
from kagenti.core.migration.mapping import Migration
from kagenti.core.migration.workloads import OldWorkload
from kagenti.core.validation import OVERREACH
from tests import legacy
from tests.unit.core.migration.given import era_objects, migrated, verified, workload

JSON = Any  # a value of an old file

GATES = tuple(chain.GATE_DEFAULTS)
TAGS = (
    "latest",
    *(f"v0.4.0-alpha.{number}" for number in (1, 3, 5, 7, 8, 9, 10, 11, 12, 13)),
    "v0.5.0-alpha.2",
    "main-1a2b3c4",
)
URLS = ("http://sso.idp.svc:8080", "https://sso.acme.example", "http://sso.idp.svc:8080/", "not a url", "")
REALMS = ("acme", "Acme_Prod", "")
TOKEN_URLS = (
    legacy.TOKEN_URL,
    "https://sso.acme.example/realms/acme/protocol/openid-connect/token",
    "http://sso.idp.svc:8080/oauth",
    "",
)
AMOUNTS = ("10m", "50m", "1", 1, 0.5, "250m", "1e3", "2P", "64Mi", "1Gi")
HOSTS = (
    "tool",
    "catalog.tools",
    "catalog.tools.svc.cluster.local",
    "**.telemetry.svc.cluster.local",
    "*.telemetry.svc.cluster.local",
    "Api.Partner.example",
    "**.partner.example",
    "*",
    "**",
    "agent-*.tools.svc",
    "a?.tools.svc",
    "tool:8080",
)


def maybe(values: SearchStrategy[JSON]) -> SearchStrategy[JSON]:
    """A value, or its absence."""
    return st.one_of(st.none(), values)


def without_nothing(found: dict[str, JSON]) -> dict[str, JSON]:
    """Leaves out what is absent."""
    return {key: value for key, value in found.items() if value is not None}


amounts = st.fixed_dictionaries(
    {}, optional={"cpu": st.sampled_from(AMOUNTS[:8]), "memory": st.sampled_from(AMOUNTS[6:])}
)
resources = st.fixed_dictionaries({}, optional={"requests": amounts, "limits": amounts})
COMPONENTS = ("envoyProxy", "proxyInit", "spiffeHelper", "clientRegistration")
IMAGES = {
    "envoyProxy": "envoy-with-processor",
    "proxyInit": "proxy-init",
    "spiffeHelper": "spiffe-helper",
    "clientRegistration": "client-registration",
    "authbridge": "authbridge",
}


@st.composite
def platforms(draw: st.DrawFn) -> str:
    """A file of platform values as JSON, which is YAML."""
    tags = {name: draw(maybe(st.sampled_from(TAGS))) for name in IMAGES}
    images: dict[str, JSON] = {name: f"{legacy.PREFIX}/{IMAGES[name]}:{tag}" for name, tag in tags.items() if tag}
    images |= without_nothing({"pullPolicy": draw(maybe(st.sampled_from(["Always", "Never"])))})
    ports = st.sampled_from([1024, 8080, 8081, 15021, 15123, 15124, 15200])
    numbers = {"port": ports, "inboundProxyPort": ports, "adminPort": ports, "uid": st.sampled_from([1337, 1000, 4000])}
    found = {
        "images": images,
        "proxy": without_nothing({name: draw(maybe(drawn)) for name, drawn in numbers.items()}),
        "resources": {name: draw(resources) for name in draw(st.sets(st.sampled_from(COMPONENTS)))},
        "sidecars": {"envoyProxy": {"enabled": draw(st.booleans())}},
        "spiffe": without_nothing({"trustDomain": draw(maybe(st.sampled_from(["old.example", "Not A Domain"])))}),
        "observability": {"logLevel": "info"},
    }
    return json.dumps(found)


@st.composite
def configs(draw: st.DrawFn) -> dict[str, str]:
    """A map authbridge-config."""
    pools = {
        "KEYCLOAK_URL": URLS,
        "KEYCLOAK_REALM": REALMS,
        "ISSUER": (legacy.ISSUER, "https://sso.acme.example/realms/acme", ""),
        "TOKEN_URL": TOKEN_URLS,
        "EXPECTED_AUDIENCE": ("agents", "two words", ""),
        "TARGET_AUDIENCE": ("tools", ""),
        "TARGET_SCOPES": ("openid tools-aud", "openid openid", ""),
        "DEFAULT_OUTBOUND_POLICY": ("exchange", "passthrough", "perhaps", ""),
        "PLATFORM_CLIENT_IDS": ("kagenti,portal", " portal , ", ""),
        "CLIENT_AUTH_TYPE": ("client-secret", "federated-jwt", "magic"),
        "SPIFFE_IDP_ALIAS": ("spire", ""),
        "JWT_AUDIENCE": ("https://sso.acme.example/realms/acme",),
        "SPIRE_ENABLED": ("true", "false"),
        "KEYCLOAK_TOKEN_EXCHANGE_ENABLED": ("true", "false", "perhaps"),
        "ODD_KEY": ("1",),
    }
    return without_nothing({key: draw(maybe(st.sampled_from(pool))) for key, pool in pools.items()})


@st.composite
def routes(draw: st.DrawFn) -> str:
    """A file of routes."""
    entries = []
    for host in draw(st.lists(st.sampled_from(HOSTS), max_size=4)):
        fields = {
            "target_audience": st.sampled_from(["catalog", ""]),
            "token_scopes": st.sampled_from(["openid catalog-aud", ""]),
            "token_url": st.sampled_from(TOKEN_URLS[:2]),
            "passthrough": st.booleans(),
            "action": st.sampled_from(["exchange", "passthrough"]),
        }
        entries.append({"host": host, **without_nothing({name: draw(maybe(drawn)) for name, drawn in fields.items()})})
    return json.dumps(entries)


@st.composite
def runtime_files(draw: st.DrawFn) -> str:
    """A config.yaml of the consolidated binary."""
    inbound = {
        "issuer": st.just(legacy.ISSUER),
        "bypass_paths": st.sampled_from([["/healthz"], ["/healthz", "/api/*/x"], ["/*"]]),
        "audience": st.just("agents"),
    }
    outbound = {
        "default_policy": st.sampled_from(["exchange", "passthrough"]),
        "no_token_policy": st.sampled_from(["deny", "client-credentials", "allow"]),
        "routes": st.sampled_from([{}, {"rules": [{"host": "tool", "passthrough": True}]}]),
        "identity": st.sampled_from([{"type": "spiffe", "jwt_audience": legacy.ISSUER}, {"type": "client-secret"}]),
    }
    plugin = {
        "jwt-validation": {name: draw(maybe(drawn)) for name, drawn in inbound.items()},
        "token-exchange": {name: draw(maybe(drawn)) for name, drawn in outbound.items()},
    }
    pipeline = {
        direction: {"plugins": [{"name": name, "config": without_nothing(plugin[name])}]}
        for direction, name in (("inbound", "jwt-validation"), ("outbound", "token-exchange"))
    }
    spire = {"spiffe": {}} if draw(st.booleans()) else {}
    return json.dumps(
        {"mode": draw(st.sampled_from(["envoy-sidecar", "proxy-sidecar"])), "pipeline": pipeline, **spire}
    )


@st.composite
def labels(draw: st.DrawFn, prefix: str) -> dict[str, str]:
    """Labels of a pod template, under the prefix of its era."""
    pools = {
        "type": ("agent", "tool"),
        "inject": ("enabled", "enabled", "disabled"),
        "spire": ("enabled", "disabled"),
        "envoy-proxy-inject": ("false", "true"),
        "spiffe-helper-inject": ("false", "False"),
        "client-registration-inject": ("false", "true"),
    }
    found = {f"{prefix}{key}": draw(maybe(st.sampled_from(pool))) for key, pool in pools.items()}
    # Most are injected: a pod that neither webhook injects says little.
    likely = {f"{prefix}type": "agent", f"{prefix}inject": "enabled"} if draw(st.integers(0, 3)) else {}
    return {**without_nothing(found), **likely}


@st.composite
def installations(draw: st.DrawFn) -> tuple[str, list[JSON], JSON]:
    """An era, its objects, and one workload."""
    era = draw(st.sampled_from(sorted(eras.ERAS)))
    gates = json.dumps(draw(st.dictionaries(st.sampled_from(GATES[draw(st.sampled_from([0, 1])) :]), st.booleans())))
    files = {"runtime": draw(runtime_files())} if draw(st.booleans()) else {}
    if draw(st.booleans()):
        files["helper"] = legacy.HELPER
    if draw(st.booleans()):
        files["envoy"] = draw(st.sampled_from([legacy.ENVOY, legacy.UNMARKED]))
    objects = era_objects(
        era,
        gates=draw(maybe(st.just(gates))),
        platform=draw(maybe(platforms())),
        config=draw(configs()),
        routes=draw(routes()),
        **files,
    )
    found = workload(
        draw(labels(eras.ERAS[era].prefix)),
        account=draw(st.sampled_from(["agent", "default"])),
        annotations=draw(maybe(st.just({"kagenti.io/outbound-ports-exclude": "11434,abc"}))),
    )
    return era, objects, found


@given(installations(), st.sampled_from(["", "prod.acme.example"]))
def test_an_installation_migrates(drawn: tuple[str, list[JSON], JSON], trust_domain: str) -> None:
    """Four properties of one drawn installation, together because to draw and to migrate is what costs."""
    era, objects, found = drawn
    migration = migrated(objects, era, trust_domain=trust_domain)
    note(f"{era} {objects}\n{migration.manifests}")
    means_what_went_in(migration, found)
    is_valid(migration)
    accounts_for_every_key_once(migration, objects)
    comes_out_the_same(migration, objects, trust_domain)


def means_what_went_in(migration: Migration, found: OldWorkload) -> None:
    """Every difference is one that the tool explains, whatever was written."""
    compared = verified(migration, found)
    assert [one for one in compared.differences if one.reason == reasons.UNEXPLAINED] == []


def is_valid(migration: Migration) -> None:
    """Each manifest is accepted by its kind, and the layers of each namespace contradict nothing."""
    cluster, *below = migration.manifests
    top = parse("cluster", cluster)
    for manifest in below:
        resolved = settings.resolve(top, parse("namespace", manifest), None, namespaces=("lab1", "tools"))
        assert resolved.errors == ()
        assert {found.reason for found in resolved.findings} & set(OVERREACH) == set()


def accounts_for_every_key_once(migration: Migration, objects: list[JSON]) -> None:
    """One entry for each key of each flat map, and none twice."""
    seen = [(one.object, one.key) for one in migration.report.entries]
    assert len(seen) == len(set(seen))
    written = {key for one in objects if one["metadata"].get("name") == "authbridge-config" for key in one["data"]}
    assert written <= {key for place, key in seen if place.endswith("/authbridge-config")}


def comes_out_the_same(first: Migration, objects: list[JSON], trust_domain: str) -> None:
    """A second run, with the objects in another order, makes the same manifests and the same report."""
    second = migrated(list(reversed(objects)), first.old.era.name, trust_domain=trust_domain)
    assert json.dumps(first.manifests) == json.dumps(second.manifests)
    assert first.report.entries == second.report.entries


PLAIN = dict(legacy.AUTHBRIDGE)


@given(
    st.sampled_from(["v0.4.0-alpha.12", "v0.4.0-alpha.13", "v0.5.0-alpha.2"]),
    st.dictionaries(st.sampled_from(["envoyProxy", "spiffeHelper"]), st.booleans()),
    st.sampled_from(["exchange", "passthrough"]),
    st.lists(st.sampled_from(["tool", "catalog.tools", "**.telemetry.svc.cluster.local"]), unique=True),
)
def test_nothing_differs_where_the_old_world_had_no_quirk(
    tag: str, gates: dict[str, bool], policy: str, hosts: list[str]
) -> None:
    """Pinned images, complete keys, plain hosts, a StatefulSet with its own account: equal in every field."""
    entries = [{"host": host, "target_audience": "catalog", "token_scopes": "openid"} for host in hosts]
    objects = era_objects(
        "E2a",
        gates=json.dumps({"globalEnabled": True, **gates}),
        platform=legacy.defaults(tag),
        config={**PLAIN, "DEFAULT_OUTBOUND_POLICY": policy},
        routes=json.dumps(entries),
        helper=legacy.HELPER,
        envoy=legacy.ENVOY,
    )
    found = workload({"kagenti.io/type": "agent"}, kind="StatefulSet")
    compared = verified(migrated(objects, "E2a"), found)
    intended = {reasons.DEFAULT_MISSING_TOKEN} if policy == "exchange" else set()
    intended |= {reasons.TLS_ORIGINATED} if policy == "exchange" else set()
    assert {one.reason for one in compared.differences} <= intended


KNOWN = sorted(
    {word for rows in keys.KEYS.values() for name in rows for word in name.split(".")}
    | {"pipeline", "plugins", "name", "config", "type", "jwt_audience"}
)
values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-1, 70000),
        st.sampled_from(["", "x", "two words", "http://a", "**.svc", "jwt-validation"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KNOWN), inner, max_size=4)),
    max_leaves=12,
)


@given(st.sampled_from(["E1a", "E2b", "E4"]), st.tuples(values, values, values, values, values), st.text(max_size=40))
def test_whatever_a_file_holds_nothing_crashes(era: str, drawn: tuple[JSON, ...], text: str) -> None:
    """Values of any shape under the names that are known, and any text as HCL: findings, and manifests that are valid."""
    gates, platform, routes_, envoy, runtime = map(json.dumps, drawn)
    objects = era_objects(
        era,
        gates=gates,
        platform=platform,
        routes=routes_,
        envoy=envoy,
        runtime=runtime,
        helper=text,
        config={"ISSUER": text},
    )
    migration = migrated(objects, era)
    for manifest in migration.manifests:
        parse("cluster" if manifest["kind"] == "AgentRuntimeClusterConfig" else "namespace", manifest)
    assert verified(migration, workload({"kagenti.io/type": "agent", "kagenti.io/inject": "enabled"})).ok

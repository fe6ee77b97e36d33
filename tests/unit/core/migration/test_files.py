"""The files inside ConfigMaps: what is read of them, and what of a broken one is said while everything else is migrated."""

from typing import Any

import pytest

from kagenti.core.migration import texts
from tests import legacy
from tests.unit.core.migration.given import (
    PLACE,
    at,
    entry,
    era_objects,
    migrated,
    reasons,
    spec_of,
    value,
    verified,
    workload,
)

JSON = Any  # a manifest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('a = "b"', {"a": "b"}),
        ("a = 0644", {"a": 644}),
        ("a = true\nb = false", {"a": True, "b": False}),
        ("# said\na = [] // said\n", {"a": []}),
        ('a = [{b="c", d=1}, {b="e"}]', {"a": [{"b": "c", "d": 1}, {"b": "e"}]}),
        ('"quoted" = "x"', {"quoted": "x"}),
        ("/* said,\n at length */ a = -1", {"a": -1}),
        ("", {}),
    ],
)
def test_hcl(text: str, expected: JSON) -> None:
    """The part of HCL that helper.conf is written in."""
    assert texts.read_hcl(text) == expected


@pytest.mark.parametrize(
    "text", ["a", "a =", "a = [", "a = {b}", "= 1", "a = %", "a {\n}", 'a = "x', "a = }", "a = " + "[" * 9000]
)
def test_what_is_no_hcl(text: str) -> None:
    """Said, never a crash."""
    with pytest.raises(texts.Unreadable):
        texts.read_hcl(text)


@pytest.mark.parametrize("text", ["a: [", "a: b: c", "\t- x", "[" * 200, "a: &x [*x", "%", "a: 1\na: 2"])
def test_what_is_no_yaml(text: str) -> None:
    """Said, never a crash."""
    with pytest.raises(texts.Unreadable):
        texts.read_yaml(text)


BOMB = "x0: &x0 {a: b}\n" + "".join(f"x{i}: &x{i} {{a: *x{i - 1}, b: *x{i - 1}}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("which", "text"),
    [
        ("platform", BOMB),
        ("envoy", f"{BOMB}static_resources: {{clusters: [*x39]}}"),
        ("platform", "images: &x {envoyProxy: *x}"),
        ("envoy", "static_resources: &x {clusters: [*x]}"),
    ],
)
def test_aliases_that_unfold_without_end(which: str, text: str) -> None:
    """A tenant's file neither ends nor stops the command that reads everybody's."""
    migration = migrated(era_objects("E2b", **{which: text}), "E2b")
    assert [fault.reason for fault in migration.report.faults] == ["Malformed"]


def test_an_alias_that_is_used_twice() -> None:
    """Is read as what it stands for."""
    limits = "&x {limits: {cpu: 300m}}"
    migration = migrated(era_objects("E2b", platform=f"resources: {{envoyProxy: {limits}, spiffeHelper: *x}}"), "E2b")
    assert value(migration, "components.spiffeHelper.resources.limits.cpu") == "300m"


@pytest.mark.parametrize(
    ("text", "expected"), [("off", False), ("yes", True), ("1e3", 1000.0), ("'off'", "off"), ("", None)]
)
def test_yaml_as_go_read_it(text: str, expected: JSON) -> None:
    """Version 1.1."""
    assert texts.read_yaml(text) == expected


def test_the_audience_of_the_svid() -> None:
    """The one whose token the old binaries read."""
    other = legacy.HELPER.replace("jwt_svids = [", 'jwt_svids = [{jwt_audience="x", jwt_svid_file_name="other"}, ')
    assert value(migrated(era_objects("E2b", helper=other), "E2b"), "identity.spiffe.jwtAudience") == legacy.ISSUER
    none = legacy.HELPER.replace("jwt_svid.token", "mine.token")
    migration = migrated(era_objects("E2b", helper=none), "E2b")
    assert entry(migration, "jwt_svids").verdict == "impossible"


@pytest.mark.parametrize(
    ("envoy", "validated"),
    [(legacy.ENVOY, True), (legacy.UNMARKED, False)],
    ids=["Lua marks what is inbound", "nothing marks it in time"],
)
def test_an_envoy_file_decides_whether_callers_were_asked(envoy: str, validated: bool) -> None:
    """Where the processor could not see the direction nobody was: now everybody is, and that is said (3.2)."""
    objects = era_objects("E2b", platform=legacy.defaults("v0.4.0-alpha.13"), envoy=envoy)
    compared = verified(migrated(objects, "E2b"), workload({"kagenti.io/type": "agent"}, kind="StatefulSet"))
    told = {one.reason for one in compared.differences}
    assert ("ValidationSkipped" in told) is not validated
    assert compared.ok


def test_an_envoy_file_of_somebodys_own() -> None:
    """What is not stock is named, and left behind."""
    own = legacy.ENVOY.replace("ext_proc_cluster, type", "my_cluster, type").replace("http.lua", "http.buffer")
    migration = migrated(era_objects("E2b", envoy=own), "E2b")
    (told,) = [one.message for one in migration.report.findings if one.reason == "EnvoyCustom"]
    assert "my_cluster" in told
    assert "envoy.filters.http.buffer" in told


# which file, its text, the reason, a word of the message
BROKEN = [
    ("gates", "globalEnabled: [", "Malformed", "not YAML"),
    ("gates", "globalEnabled: perhaps", "WrongType", "true or false"),
    ("gates", "- a", "WrongType", "keys and values"),
    ("platform", "images: {envoyProxy: 7}", "WrongType", "a text"),
    ("platform", "images: {envoyProxy: ''}", "OldRefused", "an image"),
    ("platform", "proxy: {port: '15123'}", "WrongType", "whole number"),
    ("platform", "proxy: {port: 80}", "OldRefused", "1024"),
    ("platform", "proxy: {uid: root}", "WrongType", "whole number"),
    ("platform", "resources: {envoyProxy: much}", "WrongType", "requests and limits"),
    ("platform", "images: here", "WrongType", "keys and values"),
    ("platform", "proxy: [15123]", "WrongType", "keys and values"),
    ("platform", "resources: {envoyProxy: {requests: much}}", "WrongType", "an amount"),
    ("platform", "resources: {envoyProxy: {limits: {cpu: banana}}}", "WrongType", "an amount"),
    ("platform", "tokenExchange: {defaultScopes: openid}", "WrongType", "a list"),
    ("platform", "observability: {enableMetrics: 'yes'}", "WrongType", "true or false"),
    ("platform", "observability: {logLevel: 5}", "WrongType", "a text"),
    ("platform", "sidecars: {envoyProxy: true}", "WrongType", "keys and values"),
    ("platform", "sidecars: {envoyProxy: {enabled: 1}}", "WrongType", "true or false"),
    ("routes", "host: a", "WrongType", "a list"),
    ("routes", "- a", "WrongType", "keys and values"),
    ("routes", "- {host: 7}", "WrongType", "a text"),
    ("routes", "- {host: a, passthrough: maybe}", "WrongType", "true or false"),
    ("routes", "- {host: a", "Malformed", "not YAML"),
    ("helper", "agent_address = ", "Malformed", "not HCL"),
    ("envoy", "static_resources: [", "Malformed", "not YAML"),
    ("envoy", "just text", "WrongType", "keys and values"),
    ("envoy", "static_resources: []", "WrongType", "static_resources"),
    ("envoy", "static_resources: {listeners: 4}", "WrongType", "listeners"),
    ("helper", 'jwt_svids = "x"', "WrongType", "a list of objects"),
]


@pytest.mark.parametrize(("which", "text", "reason", "word"), BROKEN)
def test_a_broken_file(which: str, text: str, reason: str, word: str) -> None:
    """One fault that names the object; everything else is migrated."""
    migration = migrated(era_objects("E2b", **{which: text}), "E2b")
    (fault,) = migration.report.faults
    assert (fault.reason, word in fault.message) == (reason, True), fault
    assert fault.message.startswith("ConfigMap ")
    assert value(migration, "identity.clientRegistration.keycloak.realm") == "acme"
    assert value(migration, "injection.types") == ["agent"]


@pytest.mark.parametrize(
    "text",
    [
        "pipeline: [",
        "just text",
        "pipeline: {inbound: {plugins: [{name: jwt-validation, config: {issuer: 7}}]}}",
        "pipeline: []",
        "pipeline: {inbound: {plugins: x}}",
        "pipeline: {inbound: {plugins: [3]}}",
        "pipeline: {inbound: {plugins: [{name: jwt-validation, config: 3}]}}",
        "mode: 7",
    ],
)
def test_a_broken_runtime_file(text: str) -> None:
    """The same for the consolidated binary's."""
    migration = migrated(era_objects("E4", runtime=text), "E4")
    assert [fault.objects for fault in migration.report.faults] == [(f"ConfigMap {PLACE}/authbridge-runtime-config",)]
    assert value(migration, "identity.clientRegistration.keycloak.realm") == "acme"


def test_other_plugins_are_impossible() -> None:
    """They are named; unknown keys of known plugins too."""
    text = "pipeline: {inbound: {plugins: [opa, {name: jwt-validation, config: {placeholder_mode: x}}]}}"
    migration = migrated(era_objects("E4", runtime=text), "E4")
    assert entry(migration, "pipeline.inbound.plugins[opa]").verdict == "impossible"
    assert entry(migration, "jwt-validation.placeholder_mode").verdict == "ignored"


@pytest.mark.parametrize("data", [{"KEYCLOAK_URL": 7, "KEYCLOAK_REALM": "acme"}, ["x"], None])
def test_data_of_wrong_types(data: JSON) -> None:
    """A dump may hold what no API server would: a fault for what is wrong, the other keys count."""
    objects = era_objects("E2b")
    objects[-1]["data"] = data
    migration = migrated(objects, "E2b")
    assert ("WrongType" in reasons(migration)) is (data is not None)
    if isinstance(data, dict):
        assert at(spec_of(migration, "AgentRuntimeConfig"), "identity.clientRegistration.keycloak.realm") == "acme"


@pytest.mark.parametrize(
    "gone", ["authbridge-config", "envoy-config", "spiffe-helper-config", "kagenti-webhook-defaults"]
)
def test_a_set_that_is_half_deleted(gone: str) -> None:
    """What is missing is named where the old webhook needed it, and the rest is migrated."""
    objects = [one for one in legacy.example("E2b", PLACE) if one["metadata"]["name"] != gone]
    migration = migrated(objects, "E2b")
    assert migration.report.faults == []
    missing = {one.objects[0] for one in migration.report.findings if one.reason == "MissingObject"}
    assert missing == (set() if gone == "kagenti-webhook-defaults" else {f"ConfigMap {PLACE}/{gone}"})
    assert migration.manifests


def test_unknown_keys_are_named() -> None:
    """A gate or value that no era knew had no effect, which its author may not know."""
    migration = migrated(era_objects("E2b", gates="{turbo: true}", platform="{warp: {speed: 9}}"), "E2b")
    assert {one.path for one in migration.report.findings if one.reason == "UnknownKey"} == {"turbo", "warp.speed"}


# era, platform file: what the webhook of that era took, and what becomes of the key
TAKEN = [
    ("E2b", "images: {authbridge: ''}", "images.authbridge", "only the four images were checked"),
    ("E2b", "proxy: {port: }", "proxy.port", "a key without a value leaves what was compiled in"),
    ("E2b", "proxy: {transparentPort: 80}", "proxy.transparentPort", "E4's own: passed over before"),
    ("E4", "sidecars: {envoyProxy: {enabled: 1}}", "sidecars.envoyProxy.enabled", "gone in E4"),
    ("E2b", "images: {pullPolicy: Sometimes}", "images.pullPolicy", "not checked; its pods were refused"),
]


@pytest.mark.parametrize(("era", "platform", "key", "why"), TAKEN)
def test_a_file_that_the_old_webhook_took(era: str, platform: str, key: str, why: str) -> None:
    """Then what stands beside the odd key was in force, and is carried."""
    migration = migrated(
        era_objects(era, platform=f"{platform}\nspiffe: {{trustDomain: old.example}}"), era, trust_domain=""
    )
    assert migration.report.faults == [], why
    assert entry(migration, key).verdict in ("ignored", "impossible")
    assert value(migration, "identity.spiffe.trustDomain") == "old.example"
    assert verified(migration, workload({"kagenti.io/type": "agent"})).ok


@pytest.mark.parametrize(
    ("platform", "reason"),
    [
        ("proxy: {uid: 0}", "OldRefused"),
        ("proxy: {iptablesCmd: nft}", "OldRefused"),
        ("proxy: {allowedEgressEnforcement: []}", "OldRefused"),
        ("proxy: {transparentPort: 80}", "OldRefused"),
        ("images: {authbridge: ''}", "OldRefused"),
        ("proxy: {allowedEgressEnforcement: none}", "WrongType"),
    ],
)
def test_checks_that_came_with_the_consolidated_binary(platform: str, reason: str) -> None:
    """The operator's webhook refused the whole file (6.3)."""
    assert reasons(migrated(era_objects("E4", platform=platform), "E4")) >= {reason}


def test_gates_without_a_value_keep_their_default() -> None:
    """As Go reads them; the others count."""
    migration = migrated(era_objects("E2b", gates="globalEnabled:\nenvoyProxy: false"), "E2b")
    assert (migration.report.faults, entry(migration, "globalEnabled").verdict) == ([], "ignored")
    assert value(migration, "components.envoyProxy.enabled") is False


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ({"platform": "ibac: {judgeBearer: hunter2}"}, "ibac.judgeBearer"),
        ({"runtime": legacy.RUNTIME.replace("type: client-secret", "client_secret: hunter2")}, "client_secret"),
    ],
)
def test_a_credential_deep_in_a_file(files: dict[str, str], name: str) -> None:
    """It is warned of by its name, and never shown or carried; a file's name is no credential."""
    text = {key: found.replace("mode: envoy-sidecar", "x: {client_secret_file: /y}") for key, found in files.items()}
    migration = migrated(era_objects("E4", **text), "E4")
    (told,) = [one for one in migration.report.findings if one.reason == "PlainCredential"]
    assert name in told.message
    assert "hunter2" not in str(migration.report) + str(migration.manifests)

"""Which era objects show, and what labels meant in each."""

from typing import Any

import pytest

from kagenti.core.migration import chain, eras
from kagenti.core.migration.images import fault_of, processor_of, runs_our_bootstrap
from kagenti.core.migration.model import effective
from tests import legacy
from tests.unit.core.migration.given import PLACE, era_objects, migrated, read, verified, workload

JSON = Any  # a manifest


@pytest.mark.parametrize("era", sorted(eras.ERAS))
def test_an_era_is_seen_by_its_objects(era: str) -> None:
    """From E2 on; what E1 was exactly, its objects cannot show."""
    objects = legacy.example(era, PLACE)
    hooks = legacy.of_kind(objects, "MutatingWebhookConfiguration")
    found = eras.detect(legacy.of_kind(objects, "ConfigMap"), hooks)
    assert found.era.name == ("E1c" if era in ("E1a", "E1b") else era)
    assert found.why


@pytest.mark.parametrize(
    ("running", "expected"),
    [
        ("kagenti-webhook-system", "E2b"),
        ("kagenti-system", "E3"),
        (None, "E3"),
    ],
    ids=["the old webhook runs", "the operator runs", "nobody runs: the newer pair"],
)
def test_both_pairs_of_maps(running: str | None, expected: str) -> None:
    """The pair of the running webhook counts; the other one is reported."""
    objects = [*legacy.example("E2b", PLACE), *legacy.example("E3", PLACE)]
    hooks = [legacy.webhook(running)] if running else []
    found = eras.detect(legacy.of_kind(objects, "ConfigMap"), hooks)
    assert found.era.name == expected
    _, report = read(objects, expected)
    others = [one.objects[0] for one in report.findings if one.reason == "SecondPair"]
    assert len(others) == 2
    assert all(found.era.namespace not in name for name in others)


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("kagenti-webhook-authbridge-mutating-webhook-configuration", "/x", True),
        ("kagenti-operator-mutating-webhook-configuration", "/mutate-workloads-authbridge", True),
        ("kagenti-injector", "/mutate", False),
    ],
)
def test_the_configuration_of_an_old_webhook(name: str, path: str, expected: bool) -> None:
    """By its name, or by the path that it calls: the operator's chart gave the object a name of its own."""
    hook = {"name": "x", "clientConfig": {"service": {"name": "y", "namespace": "z", "path": path}}}
    assert eras.is_old_webhook({"metadata": {"name": name}, "webhooks": [hook]}) is expected


def test_nothing_but_pods() -> None:
    """A pod-targeting webhook without maps is the earliest of E2; no trace at all is the design's own."""
    assert eras.detect([], [legacy.webhook("x")]).era.name == "E2a"
    assert eras.detect([], []).era.name == "E1c"


@pytest.mark.parametrize(
    ("namespace", "name", "text", "expected"),
    [
        ("kagenti-webhook-system", "kagenti-webhook-feature-gates", "combinedSidecar: false", "E2b"),
        ("kagenti-webhook-system", "kagenti-webhook-feature-gates", "injectTools: true", "E2a"),
        ("kagenti-system", "kagenti-platform-config", "proxy: {iptablesCmd: iptables-nft}", "E4"),
        ("kagenti-system", "kagenti-platform-config", "images: {proxyInit: 'x/proxy-init:v0.6.0-alpha.1'}", "E4"),
        ("kagenti-system", "kagenti-platform-config", "images: {proxyInit: 'x/proxy-init:v0.5.0-rc.3'}", "E3"),
    ],
)
def test_a_key_that_tells_the_era(namespace: str, name: str, text: str, expected: str) -> None:
    """A gate or value that came later than an era's last release (6.1, 6.3); labels turned round between E2a and E2b."""
    assert eras.detect([legacy.config_map(namespace, name, text=text)], []).era.name == expected


TYPE, INJECT = "kagenti.io/type", "kagenti.io/inject"
# era, labels, namespace labelled → injected; reference sections 7 and 8.1
MEANT = [
    ("E1b", {TYPE: "agent", INJECT: "enabled"}, True, True, "forced in"),
    ("E1b", {TYPE: "agent", INJECT: "enabled"}, False, False, "the webhook was called for labelled namespaces only"),
    ("E1b", {TYPE: "agent", INJECT: "yes"}, True, False, "any other value opted out"),
    ("E1b", {TYPE: "agent"}, True, True, "the namespace decided"),
    ("E1b", {TYPE: "agent"}, False, False, "the namespace decided"),
    ("E1b", {TYPE: "tool"}, True, True, "tools were like agents"),
    ("E1c", {TYPE: "agent"}, True, False, "the label was required"),
    ("E1c", {TYPE: "agent", INJECT: "enabled"}, True, True, "and sufficient"),
    ("E1c", {TYPE: "agent", INJECT: "enabled"}, False, False, "the webhook was called for labelled namespaces only"),
    ("E2a", {TYPE: "agent"}, True, True, "enabled is no longer needed"),
    ("E2a", {TYPE: "agent", INJECT: "enabled"}, False, False, "the webhook is not called without the namespace label"),
    ("E2a", {TYPE: "agent", INJECT: "disabled"}, True, False, "disabled opts out"),
    ("E2a", {TYPE: "agent", INJECT: "False"}, True, True, "other values mean nothing"),
    ("E2a", {TYPE: "tool"}, True, False, "tools need the gate"),
    ("E2a", {INJECT: "enabled"}, True, False, "a type is required"),
    ("E5", {"rossoctl.io/type": "agent"}, True, True, "under the new prefix"),
    ("E5", {TYPE: "agent"}, True, False, "the old prefix is not read"),
]


@pytest.mark.parametrize(("era", "labels", "labelled", "expected", "why"), MEANT)
def test_what_labels_meant(era: str, labels: dict[str, str], labelled: bool, expected: bool, why: str) -> None:
    """One row for each clause of the decision chains."""
    objects = era_objects(era)
    if not labelled:
        objects[0] = {**objects[0], "metadata": {"name": PLACE, "labels": {}}}
    old, _ = read(objects, era)
    assert chain.injected(old, workload(labels).pod) is expected, why


# era, gates, labels → (envoy, spire, registers); reference section 8.1
PARTS = [
    ("E1a", None, {}, (True, False, True), "SPIRE by its label only"),
    ("E1a", None, {"kagenti.io/spire": "enabled"}, (True, True, True), "SPIRE by its label"),
    ("E1b", None, {}, (True, True, True), "SPIRE follows the helper"),
    ("E2a", "spiffeHelper: false", {}, (True, False, True), "a gate takes away"),
    ("E2a", "envoyProxy: off", {}, (False, True, True), "YAML 1.1: off is false"),
    ("E2a", None, {"kagenti.io/envoy-proxy-inject": "false"}, (False, True, True), "a label takes away"),
    ("E2a", None, {"kagenti.io/envoy-proxy-inject": "False"}, (True, True, True), "only the very word"),
    (
        "E2a",
        "envoyProxy: false",
        {"kagenti.io/envoy-proxy-inject": "true"},
        (False, True, True),
        "a label adds nothing",
    ),
    ("E2a", None, {"kagenti.io/client-registration-inject": "false"}, (True, True, False), "opts out"),
    ("E2b", None, {}, (True, True, False), "registration must be asked for"),
    ("E2b", None, {"kagenti.io/client-registration-inject": "true"}, (True, True, True), "and is, by true"),
    (
        "E2b",
        "clientRegistration: false",
        {"kagenti.io/client-registration-inject": "true"},
        (True, True, False),
        "gate",
    ),
]


@pytest.mark.parametrize(("era", "gates", "labels", "expected", "why"), PARTS)
def test_which_parts_a_pod_got(
    era: str, gates: str | None, labels: dict[str, str], expected: tuple[bool, bool, bool], why: str
) -> None:
    """Gate first, then label."""
    old, _ = read(era_objects(era, gates=gates), era)
    found = chain.components(old, workload({TYPE: "agent", **labels}).pod)
    assert (found.envoy, found.spire, found.registers) == expected, why


FOUR = "globalEnabled: false, envoyProxy: false, spiffeHelper: false, clientRegistration: false"


@pytest.mark.parametrize(
    ("era", "gates", "expected", "why"),
    [
        ("E2b", "globalEnabled: false", False, "other gates are true by default: the switch works"),
        ("E2b", f"{{{FOUR}}}", True, "all false: no file"),
        ("E2b", "{}", True, "an empty file keeps the defaults"),
        ("E2b", f"{{{FOUR}, combinedSidecar: true}}", False, "one gate is true"),
        ("E2a", f"{{{FOUR}, combinedSidecar: true}}", True, "that gate came later: all that E2a knew are false"),
        ("E2b", f"{{{FOUR}, skillDiscovery: true}}", True, "a gate of May is unknown in E2"),
        ("E4", "{globalEnabled: false, envoyProxy: false}", True, "E4 had no other gate that is true by default"),
        ("E4", "{globalEnabled: false, envoyProxy: false, spiffeHelper: true}", True, "a gate that E4 dropped"),
        ("E4", "{globalEnabled: false}", False, "envoyProxy is true by default"),
        ("E4", "{envoyProxy: false}", False, "nothing is left to inject; globalEnabled is true"),
    ],
)
def test_the_guard_against_an_empty_file(era: str, gates: str, expected: bool, why: str) -> None:
    """Every gate that the era knew false counted as no file at all, so that injection went on (6.1, 6.3)."""
    old, _ = read(era_objects(era, gates=gates), era)
    assert chain.injected(old, workload({TYPE: "agent"}).pod) is expected, why


# era, gates, label client-registration-inject → what happened to a call under the policy exchange; reference 3.4, 4.3
CLIENTS = [
    ("E2a", None, None, "Exchange", "the sidecar registered"),
    ("E2a", None, "false", "Passthrough", "nobody registered: passed on unchanged"),
    ("E2a", "clientRegistration: false", None, "Passthrough", "nobody registered"),
    ("E2b", None, None, "Passthrough", "nobody asked for the sidecar, and there was no operator yet"),
    ("E2b", None, "true", "Exchange", "the sidecar registered"),
    ("E3", "clientRegistration: false", None, "Exchange", "the operator registered"),
    ("E3", "clientRegistration: false", "true", "Passthrough", "the operator left it to a sidecar that was gated"),
]


@pytest.mark.parametrize(("era", "gates", "label", "expected", "why"), CLIENTS)
def test_no_client_no_exchange(era: str, gates: str | None, label: str | None, expected: str, why: str) -> None:
    """The old processor let a call through as it was where it had no client; that audience was asked by nobody either."""
    config = {**legacy.AUTHBRIDGE, "DEFAULT_OUTBOUND_POLICY": "exchange"}
    objects = era_objects(era, gates=gates, config=config, envoy=legacy.ENVOY)
    labels = {TYPE: "agent", **({"kagenti.io/client-registration-inject": label} if label else {})}
    found = workload(labels, kind="StatefulSet")
    old, _ = read(objects, era)
    before = effective(old, found.pod)
    assert before.outbound.decide("tool").action == expected, why
    assert (before.values["identity.inbound.validation.audience"] == "") is (expected == "Passthrough")
    assert verified(migrated(objects, era), found).ok


@pytest.mark.parametrize(
    ("era", "kind", "expected"),
    [
        ("E2b", "Deployment", "lab1/agent-<pod-template-hash>"),
        ("E2b", "StatefulSet", "lab1/agent"),
        ("E3", "Deployment", "lab1/agent"),
        ("E1c", "Deployment", "lab1/agent"),
    ],
)
def test_what_a_client_was_called(era: str, kind: str, expected: str) -> None:
    """Up to E2 pods of a Deployment were named after their ReplicaSet (8.2)."""
    old, _ = read(era_objects(era), era)
    found = workload({TYPE: "agent", INJECT: "enabled"}, kind=kind)
    assert effective(old, found.pod).values["clientName"] == expected


@pytest.mark.parametrize(
    ("annotation", "outbound", "inbound"),
    [
        ("", [8080], []),
        ("11434", [8080, 11434], [11434]),
        (" 11434 , 4317 ", [4317, 8080, 11434], [4317, 11434]),
        ("8080,11434", [8080, 11434], [8080, 11434]),
        ("11434,abc,0,65536,-1,,99999", [8080, 11434], [11434]),
        ("1,65535", [1, 8080, 65535], [1, 65535]),
    ],
)
def test_excluded_ports(annotation: str, outbound: list[int], inbound: list[int]) -> None:
    """The table of reference 2.3; 8080 was always there."""
    old, _ = read(era_objects("E2b"), "E2b")
    keys = ("kagenti.io/outbound-ports-exclude", "kagenti.io/inbound-ports-exclude")
    found = workload({TYPE: "agent"}, annotations=dict.fromkeys(keys, annotation))
    values = effective(old, found.pod).values
    assert values["identity.outbound.trafficInterception.excludePorts"] == outbound
    assert values["identity.inbound.excludePorts"] == inbound


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (f"{legacy.PREFIX}/proxy-init:v0.4.0-alpha.13", None),
        (f"{legacy.PREFIX}/proxy-init:latest", "LatestTag"),
        (f"{legacy.PREFIX}/proxy-init", "LatestTag"),
        (f"{legacy.PREFIX}/envoy-with-processor:latest", "FrozenTag"),
        (f"{legacy.PREFIX}/envoy-with-processor:v0.6.0-alpha.1", "UnpublishedTag"),
        (f"{legacy.PREFIX}/spiffe-helper:v0.4.0-alpha.9", "UnpublishedTag"),
        (f"{legacy.PREFIX}/authbridge:latest", "LatestTag"),
        (f"{legacy.PREFIX}/envoy-with-processor:v0.4.0", "UnpublishedTag"),
        (f"{legacy.PREFIX}/proxy-init:v0.4.0-alpha.14", "UnpublishedTag"),
        (f"{legacy.PREFIX}/proxy-init:v0.5.0", "UnpublishedTag"),
        (f"{legacy.PREFIX}/proxy-init:0.4.0-alpha.13", "UnpublishedTag"),
        (f"{legacy.PREFIX}/proxy-init:v0.7.0-alpha.2", None),
        ("ghcr.io/spiffe/spiffe-helper:nightly", "LatestTag"),
        ("ghcr.io/spiffe/spiffe-helper:0.11.0", None),
        (f"{legacy.PREFIX}/proxy-init:main-1a2b3c4", None),
        (f"{legacy.PREFIX}/proxy-init@sha256:0", None),
        ("mirror.example:5000/proxy-init", "LatestTag"),
        ("mirror.example:5000/proxy-init:mine", None),
    ],
)
def test_what_is_wrong_with_an_image(image: str, expected: str | None) -> None:
    """By the matrix of published tags (0.4)."""
    found = fault_of(image)
    assert (found[0] if found else None) == expected


@pytest.mark.parametrize(
    ("tag", "inbound", "default_policy", "targets", "derives", "expected_audience", "ours"),
    [
        ("v0.4.0-alpha.1", False, False, True, False, True, False),
        ("v0.4.0-alpha.5", True, False, True, False, True, False),
        ("v0.4.0-alpha.7", True, True, True, False, True, False),
        ("v0.4.0-alpha.9", True, True, False, True, True, True),
        ("v0.4.0-alpha.11", True, True, True, False, True, True),
        ("v0.4.0-alpha.12", True, True, True, True, False, True),
        ("latest", True, True, True, True, False, True),
    ],
)
def test_what_the_processor_of_a_tag_read(
    tag: str, inbound: bool, default_policy: bool, targets: bool, derives: bool, expected_audience: bool, ours: bool
) -> None:
    """The table of reference 1.5, and whose Envoy reads our bootstrap."""
    image = f"{legacy.PREFIX}/envoy-with-processor:{tag}"
    row = processor_of(image)
    read_by_it = (row.inbound, row.default_policy, row.targets, row.derives, row.expected_audience)
    assert read_by_it == (inbound, default_policy, targets, derives, expected_audience)
    assert runs_our_bootstrap(image) is ours

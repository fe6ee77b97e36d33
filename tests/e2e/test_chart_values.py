"""Combinations of the chart's values: every pair that can meet is rendered and linted by helm and applied to the API server.

A covering array: faults of templates come from two values that meet, seldom from three. What the schema refuses is tried in one
rendering, because helm names every fault at once.
"""

import functools
import itertools
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.e2e.installed import RELEASE_NAMESPACE
from tests.e2e.plane.control_plane import ControlPlane
from tests.e2e.test_chart import CA, CHART, run_helm

JSON = Any  # values, or a rendered manifest
Choice = Mapping[str, JSON]
"""Dotted path → value."""


def logged(level: str) -> Choice:
    """The log level of every process."""
    return {f"{part}.logLevel": level for part in ("webhook", "operator", "xds")}


ENROLLED = "webhook.namespaceSelector.matchLabels"
DIMENSIONS: dict[str, Sequence[Choice]] = {
    "mode": [{"webhook.triggerMode": mode} for mode in ("label", "cr", "both")],
    "target": [{"webhook.target": target} for target in ("pods", "workloads")],
    "consistency": [{"webhook.consistency": found} for found in ("strict", "cached")],
    "failure": [{"webhook.failurePolicy": policy} for policy in ("Fail", "Ignore")],
    # No template asks for a log level: each rides along with a choice that has four.
    "certificates": [
        {"certificates.mode": "provided", "certificates.caBundle": CA, **logged("DEBUG")},
        {"certificates.mode": "certManager", **logged("INFO")},
        {"certificates.mode": "selfManaged"},
        {"certificates.issuerRef": {"name": "corp", "kind": "ClusterIssuer", "group": "cert-manager.io"}, **logged("WARNING")},
        {"certificates.issuerRef": {"name": "corp", "kind": "Issuer"}, **logged("ERROR")},
    ],
    "namespaces": [
        {},
        {ENROLLED: {"kagenti.io/enrolled": None, "team": "a"}},
        {"webhook.namespaceSelector.matchExpressions": [
            {"key": "example.com/tier", "operator": "In", "values": ["agents", "tools"]},
            {"key": "a", "operator": "NotIn", "values": ["b"]},
            {"key": "c", "operator": "Exists"}, {"key": "d", "operator": "DoesNotExist"},
        ]},
    ],
    "guards": [{"guards.enabled": True}, {"guards.enabled": False}, {"guards.platformGroups": ["platform", "system:masters"]}],
    "delegation": [{"rbac.delegateNamespaceConfig": found} for found in (False, True)],
    "restart": [{"operator.allowRestart": found} for found in (False, True)],
    "hooks": [{"hooks.enabled": found} for found in (True, False)],
    "monitors": [{"monitoring.serviceMonitor": found, "monitoring.interval": "1m"} for found in (False, True)],
    "rules": [{"monitoring.prometheusRule": found, "monitoring.labels": {"release": "prom"}} for found in (False, True)],
    "dashboard": [{"monitoring.dashboard": found, "monitoring.dashboardLabels": {"grafana": "yes"}} for found in (False, True)],
    "client CA": [{}, {"webhook.clientCA": {"secretName": "ca", "key": "root.pem"}}],
    "provider CA": [{}, {"xds.identityProviderCA": {"secretName": "ca", "key": "root.pem"}}],
    "image": [
        {"image.pullPolicy": "IfNotPresent"},
        {"image.pullPolicy": "Always", "image.tag": "v1", "image.pullSecrets": ["one", "two"]},
        {"image.pullPolicy": "Never", "image.digest": f"sha256:{'0' * 64}", "image.repository": "registry.example:5000/k"},
    ],
    "classes": [{}, {f"{part}.priorityClassName": "" for part in ("webhook", "operator", "xds")}],
    "scale": [{}, {"webhook.replicas": 1, "operator.replicas": 1, "xds.replicas": 16, "webhook.port": 8443, "webhook.concurrency": 1}],
    "kinds": [{}, {"extraWorkloadKinds": [{"group": "example.com", "resource": "crewjobs"}],
                   "operator.podNetworks": ["10.244.0.0/16", "fd00::/8"], "clusterDomain": "corp.example"}],
    "layer": [{}, {"clusterConfig": {"identity": {"outbound": {"defaultPolicy": "Deny"}},
                                     "policy": {"locked": ["identity.outbound.defaultPolicy"]}}}],
}  # fmt: skip
NOT_HERE = {"Certificate", "Issuer", "ServiceMonitor", "PrometheusRule", "Pod"}
"""Kinds of others, which this API server does not serve; and the test's pod, whose account a dry run does not make."""


def covering(dimensions: Mapping[str, Sequence[Choice]]) -> list[Choice]:
    """Returns combinations that hold every pair of choices of two dimensions at least once; the same at each call."""
    names = list(dimensions)
    open_pairs = {
        ((one, i), (other, j))
        for one, other in itertools.combinations(names, 2)
        for i in range(len(dimensions[one]))
        for j in range(len(dimensions[other]))
    }
    found: list[Choice] = []
    while open_pairs:
        row: dict[str, int] = dict(min(open_pairs))
        for name in names:
            if name not in row:
                row[name] = max(
                    range(len(dimensions[name])), key=lambda choice: _gain(name, choice, row, names, open_pairs)
                )
        open_pairs -= set(itertools.combinations([(name, row[name]) for name in names], 2))
        found.append(functools.reduce(lambda old, new: {**old, **new}, (dimensions[name][row[name]] for name in names)))
    return found


def _gain(name: str, choice: int, row: Mapping[str, int], names: list[str], open_pairs: set[Any]) -> int:
    """Returns how many pairs a choice would cover with what the row has already."""
    rank = names.index
    pairs = (sorted(((name, choice), (other, row[other])), key=lambda pair: rank(pair[0])) for other in row)
    return sum(tuple(pair) in open_pairs for pair in pairs)


COMBINATIONS = covering(DIMENSIONS)


def nested(choice: Choice) -> JSON:
    """Returns dotted paths as the tree that they stand for."""
    tree: dict[str, JSON] = {}
    for path, value in choice.items():
        *parents, last = path.split(".")
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = value
    return tree


def leaves(schema: JSON, path: str = "") -> Iterator[tuple[str, JSON]]:
    """Yields every value of the schema that is no object of named values."""
    if "properties" not in schema:
        yield path.removeprefix("."), schema
    for name, child in schema.get("properties", {}).items():
        yield from leaves(child, f"{path}.{name}")


SCHEMA = orjson.loads((CHART / "values.schema.json").read_bytes())


def test_every_choice_of_the_schema_is_among_the_combinations() -> None:
    """Each value of an enumeration, both of a boolean; a new value cannot be forgotten."""
    tried = {
        (path, value) for choice in COMBINATIONS for path, value in _flat(nested(choice)) if not isinstance(value, list)
    }
    wanted = {
        (path, value)
        for path, node in leaves(SCHEMA)
        for value in (node.get("enum") or ((True, False) if node.get("type") == "boolean" else ()))
    }
    assert wanted - tried == set()


def _flat(tree: JSON, path: str = "") -> Iterator[tuple[str, JSON]]:
    if not isinstance(tree, dict):
        yield path.removeprefix("."), tree
        return
    for key, child in tree.items():
        yield from _flat(child, f"{path}.{key}")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Every document of every combination, each content once: its text → its kind; all combinations are linted."""
    folder, found = tmp_path_factory.mktemp("values"), {}
    # CRDs stand outside of the values, and take helm five times as long to read as all the rest.
    chart = shutil.copytree(CHART, folder / "kagenti", ignore=shutil.ignore_patterns("crds"))
    command = ("template", "kagenti", str(chart), "-n", RELEASE_NAMESPACE, "--kube-version", "1.36.3")
    for number, choice in enumerate(COMBINATIONS):
        file: Path = folder / f"{number}.yaml"
        file.write_bytes(orjson.dumps(nested(choice)))  # JSON is YAML
        done, linted = (
            run_helm(*words, "--values", str(file)) for words in (command, ("lint", "--strict", str(chart)))
        )
        assert (done.returncode, linted.returncode) == (0, 0), f"{choice}: {done.stderr} {linted.stdout}"
        for document in re.split(r"^---$", done.stdout, flags=re.MULTILINE):
            if kind := re.search(r"^kind: (\S+)$", document, re.MULTILINE):
                found[document] = kind[1]
    return found


def test_every_combination_is_accepted_by_the_api_server(rendered: dict[str, str]) -> None:
    """A dry run of every object that any combination renders; each content once, because that is what differs."""
    with ControlPlane(controllers=False) as plane:
        plane.kubectl("apply", "--server-side", "-f", str(CHART / "crds"))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        for namespace in (RELEASE_NAMESPACE, f"{RELEASE_NAMESPACE}-check"):
            plane.kubectl("create", "namespace", namespace)
        ours = [document for document, kind in rendered.items() if kind not in NOT_HERE]
        assert set(rendered.values()) >= NOT_HERE
        text = "\n---\n".join(ours)
        said = plane.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "-f", "-", stdin=text)
        assert said.count("serverside-applied") == len(ours)


WRONG: dict[str, JSON] = {"string": 7, "integer": "many", "boolean": "perhaps", "array": "one", "object": "none"}


def test_every_value_of_a_wrong_type_is_named_at_once() -> None:
    """One rendering with all of them wrong: the message has a line for each, by its path."""
    wrong = {path: WRONG[node["type"]] for path, node in leaves(SCHEMA) if path != "global"}
    arguments = [
        word for path, value in wrong.items() for word in ("--set-json", f"{path}={orjson.dumps(value).decode()}")
    ]
    done = run_helm("template", "kagenti", str(CHART), "--kube-version", "1.36.3", *arguments)
    assert (done.returncode != 0, done.stdout) == (True, "")
    missing = [path for path in wrong if f"/{path.replace('.', '/')}'" not in done.stderr]
    assert missing == [], done.stderr


def test_every_bound_of_the_schema_holds() -> None:
    """The same with what is of the right type and out of bounds: enumerations, ranges, patterns, lengths."""
    wrong = {path: value for path, node in leaves(SCHEMA) if (value := _out_of_bounds(node)) is not None}
    assert len(wrong) > 30, "the schema has lost its bounds"
    arguments = [
        word for path, value in wrong.items() for word in ("--set-json", f"{path}={orjson.dumps(value).decode()}")
    ]
    done = run_helm("template", "kagenti", str(CHART), "--kube-version", "1.36.3", *arguments)
    assert (done.returncode != 0, done.stdout) == (True, "")
    missing = [path for path in wrong if f"/{path.replace('.', '/')}" not in done.stderr]
    assert missing == [], done.stderr


def _out_of_bounds(node: JSON) -> JSON:
    """Returns a value of the right type that the schema refuses; None where it refuses none."""
    if "enum" in node:
        return "neither"
    if "minimum" in node:
        return node["minimum"] - 1
    if "pattern" in node:
        return "not a value!"
    if "minLength" in node:
        return ""
    if node.get("maxLength", 10_000) < 10_000:
        return "x" * (node["maxLength"] + 1)
    if "pattern" in node.get("items", {}):
        return ["not a value!"]
    if "pattern" in (
        node.get("additionalProperties") or {} if isinstance(node.get("additionalProperties"), dict) else {}
    ):
        return {"key": "not a value!"}
    return None

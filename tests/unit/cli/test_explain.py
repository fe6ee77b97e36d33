"""``kagenti explain`` from files: the decision, where inbound traffic goes, and what a broken file says."""

from collections.abc import Callable

import orjson
import pytest

from tests.unit.cli.conftest import Done

Run = Callable[..., Done]
Write = Callable[[str], str]


def deployment(ports: str) -> str:
    """A labelled Deployment whose container declares these ports."""
    return f"""\
apiVersion: apps/v1
kind: Deployment
metadata: {{name: weather, namespace: team1}}
spec:
  template:
    metadata: {{labels: {{app: w, kagenti.io/inject: enabled}}}}
    spec:
      containers:
      - {{name: a, image: b, ports: {ports}, livenessProbe: {{httpGet: {{path: /live, port: 8081}}}}}}
"""


LAYER = """\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeConfig
metadata: {{name: default, namespace: team1}}
spec: {{identity: {{inbound: {{{}}}}}}}
"""


@pytest.mark.parametrize(
    ("ports", "inbound", "mapping", "line"),
    [
        (
            "8081",
            "enabled: true",
            {"8080": 8081},
            "8080 to 8081: identity.inbound.port is 8080, targetPort 8081, and no",
        ),
        ("8080", "enabled: true", {}, "off: the app declares port 8080 itself, so nothing leads to targetPort 8081"),
        ("8081", "port: 8081", {}, "off: identity.inbound.port and targetPort are both 8081"),
        ("8081", "enabled: false", {}, "off: inbound traffic is not validated: identity.inbound is off"),
    ],
)
def test_it_says_where_inbound_traffic_goes(
    ports: str, inbound: str, mapping: dict[str, int], line: str, kagenti: Run, written: Write
) -> None:
    """The mapping and why it is on or off, and the probes that need no token; as JSON and for people."""
    path = written(deployment(f"[{{containerPort: {ports}}}]") + LAYER.format(inbound))
    arguments = ("explain", "deployment/weather", "-n", "team1", "-f", path)
    answer = orjson.loads(kagenti(*arguments, "-o", "json").out)["inbound"]
    probes = [{"path": "/live", "port": 8081}] if inbound != "enabled: false" else []
    assert (answer["portMapping"], answer["probeBypasses"]) == (mapping, probes)
    table = kagenti(*arguments).out
    assert f"  port mapping: {line}" in table
    assert ("probe without a token: /live on port 8081" in table) is bool(probes)


def test_it_finds_a_workload_in_a_list(kagenti: Run, written: Write) -> None:
    """Items of a List are objects of the file."""
    inner = "\n".join(f"  {line}" for line in deployment("[]").splitlines())
    text = f"apiVersion: v1\nkind: List\nitems:\n-{inner[1:]}\n"
    done = kagenti("explain", "deployment/weather", "-n", "team1", "-f", written(text), "-o", "json")
    answer = orjson.loads(done.out)
    assert (answer["exists"], answer["decision"], answer["reason"]) == (True, "inject", "Label")


def test_a_broken_workload(kagenti: Run, written: Write) -> None:
    """File, line, field, what to do; exit 2."""
    path = written(deployment("[8080]"))
    done = kagenti("explain", "deployment/weather", "-n", "team1", "-f", path)
    assert (done.code, done.out) == (2, "")
    assert f"{path}:9: Deployment 'weather' is invalid: spec.template.spec.containers[0].ports[0]" in done.err


EXEMPT = """\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeClusterConfig
metadata: {{name: default}}
spec:
  policy:
    namespaces: [{{selector: {{}}, injection: Mandatory, exempt: [{{apiVersion: {version}, kind: {kind}, name: w}}]}}]
---
apiVersion: {version}
kind: {kind}
metadata: {{name: w}}
spec: {{template: {{metadata: {{}}, spec: {{containers: [{{name: a, image: b}}]}}}}}}
"""


@pytest.mark.parametrize(
    ("version", "kind", "asked", "reason"),
    [("apps/v1", "Deployment", "deploy/w", "Exempt"), ("argoproj.io/v1alpha1", "Rollout", "rollout.argoproj.io/w", "Mandatory")],
    ids=["its owner is read", "nobody of us may read its owner"],
)  # fmt: skip
def test_an_exemption_by_owner_counts_as_in_the_webhook(
    version: str, kind: str, asked: str, reason: str, kagenti: Run, written: Write
) -> None:
    """Decision 0007: an owner of a kind that the webhook's role cannot read exempts nobody."""
    text = EXEMPT.format(version=version, kind=kind)
    answer = orjson.loads(kagenti("explain", asked, "-f", written(text), "-o", "json").out)
    assert answer["reason"] == reason

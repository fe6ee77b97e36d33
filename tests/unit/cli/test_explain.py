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


@pytest.mark.parametrize(
    ("ports", "mapping", "line"),
    [
        ("[{containerPort: 8081}]", {"8080": 8081}, "port mapping: 8080 to 8081"),
        ("[{containerPort: 8080}]", {}, "port mapping: off: the app declares the port itself"),
    ],
)
def test_it_says_where_inbound_traffic_goes(
    ports: str, mapping: dict[str, int], line: str, kagenti: Run, written: Write
) -> None:
    """The mapping, also that it is off, and the probes that need no token; as JSON and for people."""
    path = written(deployment(ports))
    arguments = ("explain", "deployment/weather", "-n", "team1", "-f", path)
    answer = orjson.loads(kagenti(*arguments, "-o", "json").out)
    assert answer["inbound"] == {"portMapping": mapping, "probeBypasses": [{"path": "/live", "port": 8081}]}
    table = kagenti(*arguments).out
    assert line in table
    assert "probe without a token: /live on port 8081" in table


def test_it_says_nothing_of_inbound_where_it_is_off(kagenti: Run, written: Write) -> None:
    """Where inbound traffic is not validated there is nothing to map."""
    layer = """\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntimeConfig
metadata: {name: default, namespace: team1}
spec: {identity: {inbound: {enabled: false}}}
"""
    path = written(deployment("[{containerPort: 8081}]") + layer)
    done = kagenti("explain", "deployment/weather", "-n", "team1", "-f", path, "-o", "json")
    assert orjson.loads(done.out)["inbound"] == {}


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

"""``kagenti inject`` and ``uninject`` on files: as target pods decides, and never a traceback for what a user wrote."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from kagenti.core.admission.pods import mutate_pod
from tests.documents import documents
from tests.json_patch import applied
from tests.unit.cli.conftest import Done
from tests.unit.core.admission.cluster import DEPLOYMENT, NOW, Cluster, context, layers, request

JSON = Any  # a manifest

OURS = ["spiffe-helper", "kagenti-client-registration", "envoy-proxy", "proxy-init"]
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: weather, labels: {kagenti.io/inject: enabled}}
spec: {containers: [{name: a, image: b}]}
"""
DEPLOYMENT_TEXT = """\
# the weather agent
apiVersion: apps/v1
kind: Deployment
metadata: {name: weather, namespace: team1, labels: {kagenti.io/inject: enabled}}
spec:
  selector: {matchLabels: {app: w}}
  template:
    metadata: {labels: {app: w}}
    spec: {containers: [{name: a, image: b}]}
"""
RUNTIME = """\
---
apiVersion: kagenti.io/v1alpha1
kind: AgentRuntime
metadata: {name: weather, namespace: team1}
spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: weather}}
"""
NOW_ARGUMENTS = ("--now", "2026-11-24T12:00:00Z", "-n", "team1")

Run = Callable[..., Done]
Write = Callable[[str], str]


def names(pod: JSON) -> list[str]:
    """Returns the names of a pod's init containers."""
    return [found["name"] for found in pod["spec"].get("initContainers") or ()]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - image: b\n",
            6,
            "required field `name`",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n  - name: a\n    ports: [8080]\n",
            7,
            "ports[0]",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers: nothing\n", 5, "spec.containers"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: x, labels: {kagenti.io/inject: enabled}}\n"
            "spec:\n  containers:\n  - name: a\n    livenessProbe: {tcpSocket: 5}\n",
            7,
            "livenessProbe.tcpSocket",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers: []\n", 5, "spec.containers"),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers: [a]\n", 5, "spec.containers[0]"),
        ("apiVersion: v1\nkind: Pod\nmetadata:\nspec: {containers: [{name: a}]}\n", 3, "metadata.name"),
        ("apiVersion: v1\nkind: Pod\nmetadata: [a]\nspec: {containers: [{name: a}]}\n", 3, "metadata"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: x\n  labels: {a: 1}\nspec: {containers: [{name: a}]}\n",
            5,
            "labels",
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n", 1, "spec"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec:\n  template:\n", 5, "spec.template"),
        ("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\nspec: 5\n", 4, "spec.template"),
        ("apiVersion: 1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [{name: a}]}\n", 1, "apiVersion"),
        (
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: x}\n  spec: {}\n",
            7,
            "spec.containers",
        ),
        ("apiVersion: v1\nkind: List\nitems:\n- 5\n", 4, "an item of a List is int"),
        ("apiVersion: v1\nkind: List\nitems:\n- {metadata: {name: x}}\n", 4, "an object has no kind"),
        ("kind: [a]\n", 1, "an object has no kind"),
        ("- a\n", 1, "a document is"),
        ("a: {b\n", 2, "not YAML"),
        ("a: \x01\n", 1, "not YAML"),
    ],
)
def test_a_broken_file(text: str, line: int, says: str, kagenti: Run, written: Write) -> None:
    """File, line, what and what to do on one line; exit 2; nothing is written, not even the documents before."""
    path = written(POD + "---\n" + text)
    done = kagenti("inject", "-f", path)
    assert (done.code, done.out) == (2, "")
    first, _, rest = done.err.partition("\n")
    assert rest == ""
    assert re.match(rf"kagenti: {re.escape(path)}:{line + 5}: ", first), first
    assert says in first
    assert re.search(r"; (correct|mend|add) ", first), first


@pytest.mark.parametrize(
    ("kind", "spec", "field"),
    [
        ("AgentRuntimeConfig", "{policy: {injections: Mandatory}}", "spec.policy.injections"),
        ("AgentRuntimeConfig", "{identity: {inbond: {enabled: false}}}", "spec.identity.inbond"),
        (
            "AgentRuntimeConfig",
            "{identity: {outbound: {tokenExchange: {destinationRules: [{match: {host: a.b, ports: 1}, action: Deny}]}}}}",
            "spec.identity.outbound.tokenExchange.destinationRules[0].match.ports",
        ),
    ],
)
def test_a_field_that_nobody_knows(kind: str, spec: str, field: str, kagenti: Run, written: Write) -> None:
    """Refused as kubectl apply refuses it (--validate=strict): a misspelt Mandatory must not pass for none."""
    text = (
        f"apiVersion: kagenti.io/v1alpha1\nkind: {kind}\nmetadata: {{name: default, namespace: team1}}\nspec: {spec}\n"
    )
    path = written(text)
    done = kagenti("inject", "-f", path)
    assert (done.code, done.out) == (2, "")
    assert f"{path}:4: {kind} 'default' is invalid: {field}: there is no such field; correct or remove it" in done.err


def test_free_maps_and_metadata_take_any_field(kagenti: Run, written: Write) -> None:
    """Keys of a map are the author's, and metadata is Kubernetes' own."""
    spec = "{trace: {resourceAttributes: {team: a}}, policy: {namespaces: [{selector: {matchLabels: {a: b}}}]}}"
    metadata = "{name: default, labels: {a: b}, annotations: {c: d}, managedFields: []}"
    text = f"apiVersion: kagenti.io/v1alpha1\nkind: AgentRuntimeClusterConfig\nmetadata: {metadata}\nspec: {spec}\n"
    assert kagenti("inject", "-f", written(text)).code == 0


@pytest.mark.parametrize(
    "text", ["a: {b\n", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: [a]}\n"]
)
def test_a_broken_file_to_uninject(text: str, kagenti: Run, written: Write) -> None:
    """The same faults, read by the same function."""
    done = kagenti("uninject", "-f", written(POD + "---\n" + text))
    assert (done.code, done.out) == (2, "")
    assert "app.yaml:" in done.err


def test_a_file_that_is_not_there(kagenti: Run) -> None:
    """An input error too."""
    done = kagenti("inject", "-f", "/nowhere/app.yaml")
    assert (done.code, done.out) == (2, "")
    assert "/nowhere/app.yaml: cannot be read" in done.err


def test_a_label_on_the_workload_itself_does_not_trigger(kagenti: Run, written: Write) -> None:
    """As with target pods: the file comes out byte for byte, and the warning names line and remedy."""
    path = written(DEPLOYMENT_TEXT)
    done = kagenti("inject", "-f", path, *NOW_ARGUMENTS)
    assert (done.code, done.out) == (0, DEPLOYMENT_TEXT)
    assert f"{path}:7: warning: label kagenti.io/inject is on the Deployment's own metadata" in done.err
    assert "put it on the pod template: spec.template.metadata.labels" in done.err


def test_an_agentruntime_in_the_file_triggers(kagenti: Run, written: Write) -> None:
    """Wherever it stands, also in a List; the other documents keep every byte."""
    done = kagenti("inject", "-f", written(DEPLOYMENT_TEXT + RUNTIME), *NOW_ARGUMENTS)
    assert done.code == 0
    assert names(documents(done.out)[0]["spec"]["template"]) == OURS
    assert done.out.startswith("# the weather agent\n")
    assert done.out.endswith(RUNTIME)


LIST = """\
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: {name: weather, namespace: team1}
  spec:
    template:
      metadata: {labels: {app: w}}
      spec: {containers: [{name: a, image: b}]}
- apiVersion: v1
  kind: List
  items:
  - apiVersion: v1
    kind: Pod
    metadata: {name: inner, labels: {kagenti.io/inject: enabled}}
    spec: {containers: [{name: a, image: b}]}
- apiVersion: kagenti.io/v1alpha1
  kind: AgentRuntime
  metadata: {name: weather, namespace: team1}
  spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: weather}}
"""


def test_a_list_is_unrolled(kagenti: Run, written: Write) -> None:
    """Its items are decided one by one, and read for our kinds."""
    done = kagenti("inject", "-f", written(LIST), *NOW_ARGUMENTS)
    assert done.code == 0
    found = documents(done.out)[0]
    assert names(found["items"][0]["spec"]["template"]) == OURS
    assert names(found["items"][1]["items"][0]) == OURS
    assert found["items"][2] == documents(LIST)[0]["items"][2]


def test_what_is_denied_keeps_everything_back(kagenti: Run, written: Write) -> None:
    """``kagenti inject | kubectl apply`` must deploy nothing bare: no output, each reason with the item's own line, exit 1."""
    denied = LIST.replace(
        "image: b}]}\n- apiVersion: kagenti.io",
        "image: b, ports: [{containerPort: 15123}]}]}\n- apiVersion: kagenti.io",
    )
    path = written(denied + "---\n" + POD.replace("enabled", "perhaps"))
    done = kagenti("inject", "-f", path, *NOW_ARGUMENTS)
    assert (done.code, done.out) == (1, "")
    assert f"{path}:14: denied (PortCollision): " in done.err
    assert f"{path}:24: denied (InvalidLabel): " in done.err
    assert "nothing is printed: 2 of 3 workloads would be denied" in done.err


def test_a_list_is_taken_back(kagenti: Run, written: Write, tmp_path: Any) -> None:
    """The inverse, for every item."""
    once = kagenti("inject", "-f", written(LIST), *NOW_ARGUMENTS)
    back = kagenti("uninject", "-f", written(once.out))
    assert documents(back.out) == documents(LIST)


NULLS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: weather, namespace: team1, annotations: }
spec:
  template:
    metadata:
    spec:
      volumes:
      initContainers:
      imagePullSecrets:
      containers: [{name: a, image: b, env: , ports: }]
"""


def test_nulls_count_as_absent(kagenti: Run, written: Write) -> None:
    """A key without a value is nothing (the API server drops it), and no reason to stop."""
    done = kagenti("inject", "-f", written(NULLS + RUNTIME), *NOW_ARGUMENTS)
    assert done.code == 0, done.err
    template = documents(done.out)[0]["spec"]["template"]
    assert names(template) == OURS
    assert [entry["name"] for entry in template["spec"]["containers"][0]["env"]][-1] == "OTEL_SERVICE_NAME"


def test_a_shared_anchor_is_refused(kagenti: Run, written: Write) -> None:
    """One node in two places would be changed in both: said, instead of a pod with everything twice."""
    containers = "[{name: a, env: &shared [{name: A, value: b}]}, {name: b, env: *shared}]"
    text = POD.replace("[{name: a, image: b}]", containers)
    done = kagenti("inject", "-f", written(text), *NOW_ARGUMENTS)
    assert (done.code, done.out) == (2, "")
    assert "YAML anchor" in done.err


def test_the_command_does_what_the_webhook_does(kagenti: Run, written: Write) -> None:
    """One pod: the file that the command prints is the pod that leaves admission."""
    given = {**documents(POD)[0]}
    cluster = Cluster(labels={"team1": {"kagenti.io/enrolled": "true"}})
    owner = type(DEPLOYMENT)("", "Pod", "team1", "weather")
    answer = mutate_pod(request(given), cluster.facts(owner), context=context(), layers=layers(), now=NOW)
    done = kagenti("inject", "-f", written(POD), *NOW_ARGUMENTS)
    assert documents(done.out)[0] == applied(given, answer.patch)

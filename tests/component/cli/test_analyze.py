"""``kagenti analyze`` against an API server: what it looks at by itself."""

import base64
import datetime
from collections.abc import Callable

import orjson
import pytest

from kagenti.operator.certificates.issue import new_authority
from tests.component.cli.api_server import Server
from tests.component.cli.test_difference import everywhere, serve, template
from tests.unit.cli.conftest import Done

Run = Callable[..., Done]


def test_the_cluster_is_looked_at_without_files(kagenti: Run, api: Server) -> None:
    """Every namespace; one line for each finding."""
    api.namespace("team1", enrolled="true")
    misplaced = template("weather")
    misplaced["metadata"]["labels"] = {"kagenti.io/inject": "enabled"}
    serve(api, "", deployments=(misplaced, template("plain")))
    everywhere(api)
    done = kagenti("analyze", "--kubeconfig", api.kubeconfig)
    assert done.code == 1
    assert done.out.startswith("Deployment team1/weather: LabelOnWorkload: ")
    assert len(done.out.splitlines()) == 1


@pytest.mark.parametrize("refused", [False, True], ids=["it may be read", "it may not"])
def test_a_ca_bundle_near_its_end_is_found_where_it_may_be_read(refused: bool, kagenti: Run, api: Server) -> None:
    """A tenant may not, and is told of workloads alone."""
    api.namespace("team1")
    serve(api, "")
    everywhere(api)
    now = datetime.datetime.now(datetime.UTC)
    authority = new_authority("kagenti", life=datetime.timedelta(days=9), now=now).certificate
    base = "/apis/admissionregistration.k8s.io/v1"
    path = f"{base}/mutatingwebhookconfigurations/kagenti-injector"
    entry = {"clientConfig": {"caBundle": base64.b64encode(authority).decode()}}
    api.objects[path] = {"metadata": {"name": "kagenti-injector"}, "webhooks": [entry]}
    # kagenti-view gives a tenant the one that says what is installed, and not the other.
    api.refused = {f"{base}/validatingwebhookconfigurations/kagenti-validator": 403} if refused else {}
    rows = orjson.loads(kagenti("analyze", "-o", "json", "--kubeconfig", api.kubeconfig).out)
    expected = [("MutatingWebhookConfiguration kagenti-injector", "CertificateNearExpiry")]
    assert [(row["object"], row["reason"]) for row in rows] == expected * (not refused)

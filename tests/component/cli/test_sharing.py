"""Who shares a service account among the pods of the cluster."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from tests.component.cli.api_server import Server
from tests.unit.cli.conftest import Done

JSON = Any  # a manifest
Run = Callable[..., Done]


def _pod(name: str, owner: str) -> JSON:
    reference = {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": owner, "uid": owner, "controller": True}
    metadata = {"name": name, "namespace": "team1", "ownerReferences": [reference]}
    return {
        "metadata": {**metadata, "labels": {"kagenti.io/managed": "true"}},
        "spec": {"serviceAccountName": "bot", "containers": [{"name": "a", "image": "b"}]},
    }


@pytest.mark.parametrize("status", [200, 403])
def test_the_pods_of_the_cluster_show_it(status: int, kagenti: Run, api: Server) -> None:
    """One LIST of injected pods under the account; who may not list them is told nothing."""
    api.namespace("team1")
    template = {"metadata": {"labels": {"kagenti.io/inject": "enabled"}}, "spec": _pod("x", "x")["spec"]}
    weather = {"metadata": {"name": "weather", "namespace": "team1", "uid": "w"}, "spec": {"template": template}}
    api.objects["/apis/apps/v1/namespaces/team1/statefulsets/weather"] = weather
    api.objects["/api/v1/namespaces/team1/pods"] = {"items": [_pod("weather-0", "weather"), _pod("news-0", "news")]}
    api.refused["/api/v1/namespaces/team1/pods"] = status
    done = kagenti("explain", "statefulset/weather", "-n", "team1", "-o", "json", "--kubeconfig", api.kubeconfig)
    found = [warning for warning in orjson.loads(done.out)["warnings"] if warning.startswith("SharedIdentity")]
    assert len(found) == (status == 200), done.err
    assert all("like StatefulSet team1/news: " in warning for warning in found)
    (asked,) = (path for _, path, _ in api.requests if path.startswith("/api/v1/namespaces/team1/pods"))
    assert "fieldSelector=spec.serviceAccountName%3Dbot&labelSelector=kagenti.io/managed%3Dtrue" in asked

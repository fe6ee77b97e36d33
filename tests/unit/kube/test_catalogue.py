"""The caches as core reads them, and what readiness says of one that is not filled."""

import orjson
import pytest

from kagenti.core.layers import LayerCache
from kagenti.core.store import Apply, InitDone
from kagenti.core.workload import WorkloadRef
from kagenti.kube import KINDS, Catalogue, Feed, FeedState, StoredObject, keep_last_valid
from kagenti.kube.client import refusal


def _stored(kind: str, name: str, *, namespace: str = "", version: str = "1", **spec: object) -> StoredObject:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": version}
    return KINDS[kind].decode(orjson.dumps({"metadata": metadata, "spec": spec}))


def _runtime(name: str, *, namespace: str = "team1") -> StoredObject:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
    return _stored("AgentRuntime", name, namespace=namespace, targetRef=reference)


class Reflecting:
    """A reflector that does nothing but have a state."""

    relists = 3
    last_event = 0.0

    def __init__(self, problem: str = "") -> None:
        self.problem = problem

    async def run(self) -> None:
        raise NotImplementedError


def test_answers_from_its_stores() -> None:
    """Each question of the view is one lookup."""
    catalogue = Catalogue()
    cluster = _stored("AgentRuntimeClusterConfig", "default")
    config = _stored("AgentRuntimeConfig", "default", namespace="team1")
    ours, others = _runtime("weather"), _runtime("weather", namespace="team2")
    for found in (cluster, config, ours, others):
        catalogue.stores[found.kind].apply(Apply(found))
    namespace = KINDS["Namespace"].decode(b'{"metadata": {"name": "team1", "labels": {"kagenti.io/enrolled": "true"}}}')
    catalogue.stores["Namespace"].apply(Apply(namespace))
    assert catalogue.cluster_config() == cluster
    assert (catalogue.namespace_config("team1"), catalogue.namespace_config("team2")) == (config, None)
    assert catalogue.runtimes_for(WorkloadRef("apps", "Deployment", "team1", "weather")) == (ours,)
    assert (list(catalogue.runtimes("team2")), list(catalogue.runtimes(None))) == ([others], [ours, others])
    assert catalogue.namespace_labels("team1") == {"kagenti.io/enrolled": "true"}
    assert catalogue.namespace_labels("team2") is None


def test_synced_when_every_cache_is() -> None:
    """Three of four are not enough."""
    catalogue = Catalogue()
    seen = []
    for store in catalogue.stores.values():
        seen.append(catalogue.synced())
        store.apply(InitDone())
    assert (seen, catalogue.synced()) == ([False] * 4, True)


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("AgentRuntime", 404, "CRD agentruntimes.kagenti.io is missing: run kagenti crds --apply"),
        (
            "AgentRuntime",
            403,
            "cache of agentruntimes is not filled: GET /apis/x was answered 403: no right",
        ),
        ("Namespace", 404, "cache of namespaces is not filled: GET /apis/x was answered 404: no right"),
        ("AgentRuntime", 0, "cache of agentruntimes is not filled: the first list has not come in yet"),
    ],
)
def test_missing_cache_names_the_cure(kind: str, status: int, expected: str) -> None:
    """The words of the real client, read back."""
    body = b'{"message": "no right"}'
    problem = str(refusal(status, body, what="GET /apis/x", headers={})) if status else ""
    assert Feed(KINDS[kind], Catalogue().stores[kind], Reflecting(problem)).missing() == expected


def test_filled_cache_misses_nothing_whatever_goes_wrong_later() -> None:
    """A watch that broke after the first list leaves a cache that ages, which is a metric, not a missing part."""
    store = Catalogue().stores["AgentRuntime"]
    store.apply(InitDone())
    feed = Feed(KINDS["AgentRuntime"], store, Reflecting("GET /apis/x was answered 404: gone"))
    state = feed.state()
    assert (feed.missing(), state.relists) == ("", 2)
    assert isinstance(state, FeedState)
    assert state.age is not None


def test_last_valid_version_stays_in_force() -> None:
    """A version that no longer parses does not take the one before it away, even when no pod ever asked for it."""
    catalogue, layers = Catalogue(), LayerCache()
    keep_last_valid(catalogue, layers)
    store = catalogue.stores["AgentRuntimeConfig"]
    store.apply(Apply(_stored("AgentRuntimeConfig", "default", namespace="team1", version="1")))
    store.apply(Apply(_stored("AgentRuntimeConfig", "default", namespace="team1", version="2", identity=7)))
    broken = catalogue.namespace_config("team1")
    assert broken is not None
    read = layers.read("namespace", broken)
    assert read.layer is not None
    assert (read.layer.source.resource_version, read.fault is not None) == ("1", True)


def test_status_changes_cost_no_parsing() -> None:
    """An operator writes status far more often than people write specs."""
    catalogue, layers = Catalogue(), LayerCache()
    keep_last_valid(catalogue, layers)
    store = catalogue.stores["AgentRuntimeConfig"]
    for version in ("1", "2", "3"):
        store.apply(Apply(_stored("AgentRuntimeConfig", "default", namespace="team1", version=version)))
    assert len(layers) == 0

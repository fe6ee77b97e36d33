"""What the tests write into AgentRuntimes and configs, and what they read back from status."""

from typing import Any

from tests.e2e.admission.manifests import runtime
from tests.e2e.api_client import ApiClient
from tests.e2e.plane.waiting import wait_until

JSON = Any  # settings and statuses
OURS = (("AgentRuntime", "weather"), ("AgentRuntimeConfig", "default"), ("AgentRuntimeClusterConfig", "default"))
"""What has a status of propagation: kind and name of the tests' own objects."""


def rule(host: str, audience: str = "", scope: str = "", **fields: JSON) -> JSON:
    """Returns a destination rule; with an audience it exchanges."""
    target = {"target": {"audience": audience, "scopes": [scope]}} if audience else {}
    return {"match": {"host": host}, **target, **fields}


def outbound(*rules: JSON, policy: str = "", **exchange: JSON) -> JSON:
    """Returns settings with these rules."""
    made = {"tokenExchange": {"destinationRules": list(rules), **exchange}}
    return {"identity": {"outbound": {**made, **({"defaultPolicy": policy} if policy else {})}}}


def apply_runtime(api: ApiClient, namespace: str, settings: JSON, name: str = "weather") -> None:
    """Creates the AgentRuntime of a Deployment, or gives it these settings."""
    if api.get("AgentRuntime", namespace, name).ok:
        answer = api.merge("AgentRuntime", namespace, name, {"spec": settings})
    else:
        answer = api.create(runtime(namespace, name, kind="Deployment", target=name, **settings))
    assert answer.ok, answer.message


def propagation(api: ApiClient, kind: str, namespace: str, name: str) -> tuple[dict[str, JSON], dict[str, JSON]]:
    """Returns an object's only entry of ``status.propagation`` and its condition ConfigPropagated; empty where missing."""
    status = api.get(kind, namespace, name).body.get("status") or {}
    entries = status.get("propagation") or [{}]
    conditions = [found for found in status.get("conditions") or () if found["type"] == "ConfigPropagated"]
    return entries[0], conditions[0] if conditions else {}


def awaited(
    api: ApiClient, namespace: str, expected: tuple[str, str], *, kinds: Any = OURS[:2], says: str = "", **counts: int
) -> dict[str, JSON]:
    """Waits until all these objects have the condition and counts; returns the first one's entry and message.

    ``says`` is waited for in that message: one that is still on its way has the same reason as one that is kept back.
    """
    found: dict[str, JSON] = {}

    def holds() -> bool:
        for kind, name in reversed(kinds):
            within = "" if kind == "AgentRuntimeClusterConfig" else namespace
            entry, condition = propagation(api, kind, within, name)
            found.clear()
            found.update(entry | {"message": condition.get("message", ""), "kind": kind, "condition": condition})
            if (condition.get("status"), condition.get("reason")) != expected:
                return False
            if any(entry.get(key) != count for key, count in counts.items()):
                return False
        return says in found["message"]

    # The cluster's config counts the pods of namespaces that other tests have left, until they are gone.
    wait_until(holds, 40, lambda: str(found))
    return found

"""What the tests write into AgentRuntimes and configs, and what they read back from status."""

from typing import Any

from tests.e2e.admission.manifests import runtime
from tests.e2e.api_client import ApiClient

JSON = Any  # settings and statuses


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

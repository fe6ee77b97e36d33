"""What settings do to a pod, read from the answer of a dry run: how an attack is seen to have no effect."""

from collections.abc import Callable
from typing import Any

from tests.e2e.api_client import Answer, ApiClient
from tests.e2e.plane.waiting import wait_until

JSON = Any  # a Kubernetes object as received

SECONDS = 30  # for a change to reach the webhook's caches; it takes milliseconds


def container(answer: Answer, name: str) -> JSON:
    """Returns a container of the admitted pod, ours or the app's; None where there is none of that name."""
    spec = answer.body["spec"]
    found = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return next((one for one in found if one["name"] == name), None)


def env(answer: Answer, name: str, variable: str) -> JSON:
    """Returns the value of a variable of a container, or the name of the Secret that it comes from."""
    entries = {entry["name"]: entry for entry in (container(answer, name) or {}).get("env") or ()}
    entry = entries.get(variable) or {}
    reference = (entry.get("valueFrom") or {}).get("secretKeyRef")
    return reference["name"] if reference else entry.get("value")


def sampled(answer: Answer) -> JSON:
    """Returns the sampling rate that the app gets."""
    return env(answer, "agent", "OTEL_TRACES_SAMPLER_ARG")


def eventually(api: ApiClient, manifest: JSON, holds: Callable[[Answer], bool], what: str) -> Answer:
    """Creates the pod by dry run until something holds of the answer; returns that answer."""
    last: list[Answer] = []

    def tried() -> bool:
        last.append(api.create(manifest, dry_run=True))
        return holds(last[-1])

    wait_until(tried, SECONDS, lambda: f"{what}; last answer: {last[-1].status} {last[-1].message}")
    return last[-1]


def admitted(api: ApiClient, manifest: JSON) -> Answer:
    """Creates the pod by dry run until it is admitted."""
    return eventually(api, manifest, lambda answer: answer.ok, "the pod is not admitted")


def denied(api: ApiClient, manifest: JSON, *words: str) -> None:
    """Creates the pod by dry run until it is denied in these words."""
    said = f"the pod is not denied with {words}"
    eventually(api, manifest, lambda answer: not answer.ok and all(word in answer.message for word in words), said)


def stored(api: ApiClient, manifest: JSON) -> None:
    """Writes an object of ours, waiting until the webhook lets it pass."""
    last: list[Answer] = []

    def tried() -> bool:
        last.append(api.create(manifest))
        return last[-1].ok

    wait_until(tried, SECONDS, lambda: f"not stored: {last[-1].message}")

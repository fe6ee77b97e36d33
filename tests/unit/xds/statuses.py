"""An API server for status alone: server-side apply of list-map entries by manager, brought back by a watch."""

from collections import defaultdict
from typing import Any

import orjson

from kagenti import errors
from kagenti.core.store import Apply
from kagenti.xds.figures import Target
from tests.unit.xds.bench import Bench, stored

JSON = Any  # statuses and manifests

_KEYS = {"propagation": "replica", "conditions": "type"}


class Statuses:
    """Objects of a bench with their status; ``applied`` are (object, manager, status) in order."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._specs: dict[Target, JSON] = {}
        self._owned: dict[Target, dict[str, JSON]] = defaultdict(dict)
        self.applied: list[tuple[Target, str, JSON]] = []
        self.faults: list[Exception] = []
        self._version = 1000

    def create(self, kind: str, name: str = "default", *, namespace: str = "", **spec: JSON) -> Target:
        """Creates an object, or writes its spec anew."""
        target = Target(kind, namespace, name)
        self._specs[target] = spec
        self._watch(target)
        return target

    def write(self, target: Target, manager: str, **status: JSON) -> None:
        """Applies a status for another manager, for instance another replica."""
        self._owned[target][manager] = status
        self._watch(target)

    def status(self, target: Target) -> JSON:
        """Returns an object's status."""
        merged: dict[str, dict[str, JSON]] = {"propagation": {}, "conditions": {}}
        for status in self._owned[target].values():
            for field, items in status.items():
                merged[field] |= {item[_KEYS[field]]: item for item in items}
        return {field: list(items.values()) for field, items in merged.items()}

    def entry(self, target: Target, replica: str) -> JSON:
        """Returns a replica's entry, or None."""
        return next((found for found in self.status(target)["propagation"] if found["replica"] == replica), None)

    def condition(self, target: Target) -> tuple[str, str]:
        """Returns status and reason of the one condition; empty without one."""
        return next(((found["status"], found["reason"]) for found in self.status(target)["conditions"]), ("", ""))

    async def apply(self, path: str, manifest: JSON, *, manager: str, timeout: float) -> bytes:
        if self.faults:
            raise self.faults.pop(0)
        metadata = manifest["metadata"]
        target = Target(manifest["kind"], metadata.get("namespace", ""), metadata["name"])
        place = f"namespaces/{target.namespace}/" if target.namespace else ""
        assert path == f"/apis/kagenti.io/v1alpha1/{place}{target.kind.lower()}s/{target.name}/status"
        if target not in self._specs:
            raise errors.NotFound("no such object")
        status = manifest.get("status", {})
        others = any(status for owner, status in self._owned[target].items() if owner != manager)
        if "status" in manifest and not status and not others:  # as tests/e2e/test_kube.py sees it
            raise errors.Unreachable("422: status in body must be of type object")
        self.applied.append((target, manager, status))
        self.write(target, manager, **status)
        return orjson.dumps(manifest)

    def _watch(self, target: Target) -> None:
        self._version += 1
        made = stored(
            target.kind,
            target.name,
            namespace=target.namespace,
            version=str(self._version),
            spec=self._specs[target],
            status=self.status(target),
            generation=1,
        )
        self._bench.catalogue.stores[target.kind].apply(Apply(made))

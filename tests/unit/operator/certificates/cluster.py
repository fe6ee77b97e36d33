"""Secrets and webhook configurations of a cluster as a keeper meets them, and a clock that a test moves."""

import base64
import copy
import datetime
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson

from kagenti import errors
from kagenti.core.certificates import WEBHOOK, XDS, Certificate, Held, Rules, bundle_of, held
from kagenti.operator.certificates import Assignment, Keeper

JSON = Any  # raw objects

BEGIN = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
INJECTOR = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/kagenti-injector"
VALIDATOR = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/kagenti-validator"
NAME = "kagenti-webhook.kagenti-system.svc"
OF_WEBHOOK = Assignment(
    what="webhook",
    namespace="kagenti-system",
    authority="kagenti-webhook-ca",
    leaf="kagenti-webhook-tls",
    common_name="kagenti webhook CA",
    names=frozenset({NAME}),
    rules=WEBHOOK,
    configurations=(INJECTOR, VALIDATOR),
)
OF_XDS = replace(
    OF_WEBHOOK, what="xds", authority="kagenti-xds-ca", leaf="kagenti-xds-tls", rules=XDS, configurations=()
)


def configuration(kind: str, name: str, *entries: str) -> JSON:
    """A webhook configuration as the chart renders it, shortened: no caBundle yet."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
        },
        "webhooks": [{"name": entry, "clientConfig": {"service": {"name": "kagenti-webhook"}}} for entry in entries],
    }


class Cluster:
    """Objects by path. ``breaks_after`` writes the API server is away; ``writes`` are the paths written, in order."""

    def __init__(self) -> None:
        self.objects: dict[str, JSON] = {
            INJECTOR: configuration("MutatingWebhookConfiguration", "kagenti-injector", "inject-label", "inject-cr"),
            VALIDATOR: configuration("ValidatingWebhookConfiguration", "kagenti-validator", "validate", "advise"),
        }
        self.writes: list[str] = []
        self.breaks_after: int | None = None
        self.seconds = 0.0

    async def get(self, path: str) -> bytes:
        """Returns an object."""
        if path not in self.objects:
            raise errors.NotFound(path)
        return orjson.dumps(self.objects[path])

    async def apply(self, path: str, manifest: JSON, *, manager: str) -> bytes:
        """Writes all data of a Secret, over the version that the manifest names."""
        self._answer()
        found = ((self.objects.get(path) or {}).get("metadata")) or {}
        named = manifest["metadata"]
        if any(named[key] != found.get(key) for key in ("uid", "resourceVersion") if key in named):
            raise errors.Conflict(path)
        written = copy.deepcopy(manifest)
        written["metadata"].update(uid=f"uid-of-{path}", resourceVersion=str(len(self.writes)))
        self.objects[path] = written
        self.writes.append(path)
        return b""

    async def request(
        self, method: str, path: str, *, params: Mapping[str, str], body: bytes, content_type: str
    ) -> bytes:
        """Takes a JSON patch; one whose tests fail, or for what does not exist, changes nothing."""
        assert (method, content_type) == ("PATCH", "application/json-patch+json")
        self._answer()
        if path not in self.objects:
            raise errors.NotFound(path)
        changed = copy.deepcopy(self.objects[path])
        for operation in orjson.loads(body):
            *parents, last = operation["path"].strip("/").split("/")
            node: JSON = changed
            for key in parents:
                node = node[int(key)] if isinstance(node, list) else node[key]
            if operation["op"] == "test" and node[last] != operation["value"]:
                raise errors.Unreachable(f"{path}: test of {operation['path']}")
            node[last] = operation["value"]
        self.objects[path] = changed
        self.writes.append(path)
        return b""

    def _answer(self) -> None:
        if self.breaks_after is not None and len(self.writes) >= self.breaks_after:
            raise errors.Unreachable("away")

    def now(self) -> datetime.datetime:
        """The clock."""
        return BEGIN + datetime.timedelta(seconds=self.seconds)

    def pass_time(self, **time: float) -> None:
        """Moves the clock."""
        self.seconds += datetime.timedelta(**time).total_seconds()

    def keeper(self, assignment: Assignment, rules: Rules | None = None) -> Keeper:
        """A keeper that knows nothing yet."""
        assignment = replace(assignment, rules=rules or assignment.rules)
        logger = logging.getLogger("test")
        return Keeper(self, assignment, logger=logger, now=self.now, monotonic=lambda: self.seconds)

    def material(self, assignment: Assignment) -> Held:
        """What the two Secrets hold."""
        return held(
            self.objects.get(assignment.path(assignment.authority)), self.objects.get(assignment.path(assignment.leaf))
        )

    def bundle(self, path: str = INJECTOR) -> tuple[Certificate, ...]:
        """The CAs of a caBundle."""
        return bundle_of(self.objects[path])


def secret(path: str, **data: bytes) -> JSON:
    """A raw Secret; ``tls_crt`` stands for ``tls.crt``."""
    return {
        "metadata": {"name": path.rpartition("/")[2], "uid": f"uid-of-{path}", "resourceVersion": "1"},
        "type": "kubernetes.io/tls",
        "data": {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()},
    }

"""A cluster by script for the xDS process's tests: its keys, its tokens, its API server's answers, its pods."""

import json
from collections.abc import Mapping
from typing import Any, Final

import orjson

from kagenti import errors
from kagenti.kube import PODS, StoredPod
from tests.oidc import Key

JSON = Any  # API objects and claims

NOW: Final = 1_800_000_000.0
SIGNER: Final = Key("api-server")


def claims(**overrides: JSON) -> dict[str, JSON]:
    """Returns the claims of pod ``team1/weather-1`` as an API server makes them (one hour, audience ours)."""
    return {
        "aud": ["kagenti-xds"],
        "exp": int(NOW) + 3600,
        "iat": int(NOW) - 10,
        "nbf": int(NOW) - 10,
        "iss": "https://kubernetes.default.svc",
        "sub": "system:serviceaccount:team1:weather",
        "kubernetes.io": {
            "namespace": "team1",
            "node": {"name": "node-1", "uid": "node-uid"},
            "pod": {"name": "weather-1", "uid": "pod-1"},
            "serviceaccount": {"name": "weather", "uid": "sa-uid"},
        },
    } | overrides


def token(signer: Key = SIGNER, **overrides: JSON) -> str:
    """Returns a token with these claims."""
    return signer.sign(claims(**overrides))


RECEIPT: Final = json.dumps({"layout": 1, "settings": {}, "containers": ["envoy-proxy"], "portMapping": {"8080": 8081}})


def pod(uid: str = "pod-1", *, name: str = "weather-1", namespace: str = "team1", **fields: Any) -> StoredPod:
    """Returns a running managed pod of ReplicaSet ``weather-5d8f``; ``fields`` are those of the API object."""
    owner = {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "weather-5d8f", "uid": "rs-1", "controller": True}
    receipt, account = fields.pop("receipt", RECEIPT), fields.pop("account", "weather")
    metadata: dict[str, JSON] = {
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "resourceVersion": "1",
        "labels": {"kagenti.io/managed": "true"},
        "annotations": {"kagenti.io/injected": receipt} if receipt is not None else {},
        "ownerReferences": [owner],
    }
    status = {"phase": fields.pop("phase", "Running"), "podIPs": [{"ip": "10.0.0.7"}]}
    raw = {"metadata": metadata | fields, "spec": {"serviceAccountName": account}, "status": status}
    return PODS.decode(orjson.dumps(raw))


class FakeApi:
    """An API server by table: path → object, or the error it raises; counts what it was asked."""

    def __init__(self, objects: Mapping[str, JSON | Exception] | None = None) -> None:
        self.objects = dict(objects or {})
        self.asked: list[str] = []
        self.posted: list[JSON] = []

    async def get(self, path: str, **_: object) -> bytes:
        self.asked.append(path)
        return self._answer(path)

    async def post(self, path: str, body: JSON, **_: object) -> bytes:
        self.asked.append(path)
        self.posted.append(body)
        return self._answer(path)

    def _answer(self, path: str) -> bytes:
        found = self.objects.get(path, errors.NotFound(f"{path} was answered 404"))
        if isinstance(found, Exception):
            raise found
        return orjson.dumps(found)


def jwks(*signers: Key) -> JSON:
    """Returns what the API server publishes."""
    return {"keys": [signer.jwk() for signer in signers]}

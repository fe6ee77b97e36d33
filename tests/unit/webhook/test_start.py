"""The wired process before it listens: a watch that is late, a certificate that is not there."""

import asyncio
import base64
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.unit.webhook.conftest import Authority
from tests.unit.webhook.test_reviews import pod, review

from kagenti import errors
from kagenti.core.store import InitApply, InitDone, Store
from kagenti.kube import KINDS, Kind, StoredObject
from kagenti.webhook import WebhookConfig
from kagenti.webhook.journal import Journal
from kagenti.webhook.process import Process
from kagenti.webhook.start import assemble

SET = "/apis/apps/v1/namespaces/team1/replicasets/weather-5d8f"
RUNTIMES = "/apis/kagenti.io/v1alpha1/namespaces/team1/agentruntimes"


class ApiServer:
    """Answers GETs from a table and remembers them."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers
        self.asked: list[str] = []

    async def get(self, path: str, *, params: Mapping[str, str] | None = None, timeout: float = 1.0) -> bytes:
        self.asked.append(path)
        if path not in self.answers:
            raise errors.NotFound(path)
        return orjson.dumps(self.answers[path])


class LateWatch:
    """A reflector whose first list came before anything existed, and whose watch then says nothing."""

    relists, last_event, problem, following = 1, 0.0, "", True

    def __init__(self, kind: Kind, store: Store[StoredObject]) -> None:
        if kind.name == "Namespace":
            store.apply(InitApply(KINDS["Namespace"].decode(b'{"metadata": {"name": "team1"}}')))
        store.apply(InitDone())

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def follow(self) -> None:
        raise NotImplementedError


@pytest.fixture
def config(tmp_path: Path, authority: Authority) -> WebhookConfig:
    certificate, key = authority.issue().write(tmp_path / "tls")
    return WebhookConfig(certificate, key, host="127.0.0.1", port=0, shutdown_grace=0.0, poll=0.01)


def assembled(config: WebhookConfig, server: ApiServer) -> Process:
    journal = Journal(logging.Logger("kagenti.webhook"))
    return assemble(config, server, journal=journal, reflect=LateWatch)


async def test_pod_does_not_slip_through_a_late_watch(config: WebhookConfig) -> None:
    """AgentRuntime applied, its watch event not here yet, pod created: injected, because the miss was asked about."""
    top = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather", "uid": "d-1", "controller": True}
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "weather"}
    runtime = {"metadata": {"name": "weather", "namespace": "team1"}, "spec": {"type": "agent", "targetRef": reference}}
    server = ApiServer(
        {
            SET: {"metadata": {"name": "weather-5d8f", "uid": "rs-1", "ownerReferences": [top]}},
            RUNTIMES: {"metadata": {}, "items": [runtime]},
        }
    )
    entry = assembled(config, server).entries["/mutate/pods"]
    for _ in range(2):
        answer = orjson.loads(await entry(orjson.dumps(review(pod())), False))["response"]
        assert "envoy-proxy" in base64.b64decode(answer["patch"]).decode()
    assert server.asked == [SET, RUNTIMES, RUNTIMES]  # the owner once, a miss every time


def test_start_without_a_certificate_says_which(tmp_path: Path) -> None:
    """One sentence: the file, and what to do."""
    config = WebhookConfig(tmp_path / "tls.crt", tmp_path / "tls.key")
    with pytest.raises(
        errors.ManifestError, match=r'cannot read ".*tls\.crt": No such file or directory; mount the Secret'
    ):
        assemble(config, ApiServer({}), journal=Journal(logging.Logger("x", logging.INFO)), reflect=LateWatch)

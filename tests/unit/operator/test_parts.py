"""How the parts of one process hear of the xDS server's CA, which stands in every pod that they judge."""

import asyncio
import logging
from pathlib import Path

import pytest

from kagenti.kube import KubeClient
from kagenti.kube.connection import Connection
from kagenti.operator import parts
from kagenti.operator.config import OperatorConfig
from kagenti.operator.parts import Parts
from kagenti.operator.process import Process
from tests.unit.webhook.conftest import make_authority


def wired(config: OperatorConfig) -> tuple[Parts, Process]:
    """The parts of a process that has no cluster, and the process."""
    connection = Connection("http://127.0.0.1:1", None)
    found = Parts(config, connection, KubeClient(connection), logger=logging.getLogger("test"))
    return found, found.process()


def authority_of(found: Parts) -> tuple[str, str]:
    """The CA by which pods are judged, and by which they are replaced."""
    desks = (found.reconciler.desk, found.rollouts.desk)
    first, second = (desk.context.installation.xds_authority for desk in desks)
    return first, second


async def test_a_changed_file_is_judged_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of the process reads it again: pods with the old CA are stale, as the webhook makes no more of them."""
    monkeypatch.setattr(parts, "_CA_POLL", 0.001)
    old, new = make_authority("one").pem.decode(), make_authority("two").pem.decode()
    file = tmp_path / "ca.crt"
    file.write_text(old)
    found, process = wired(OperatorConfig("op-0", xds_ca=file))
    assert authority_of(found) == (old, old)
    (watch,) = [run for name, run in process.parts if name == "CA of the xDS server"]
    task = asyncio.create_task(watch())
    file.write_text(new)
    async with asyncio.timeout(5):
        while authority_of(found) != (new, new):
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_no_pod_is_judged_before_the_managed_ca_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them would look stale. The file plays no part then."""
    found, process = wired(OperatorConfig("op-0", xds_ca=Path("/none"), manage_certificates=True))
    assert "certificates" in [name for name, _ in process.parts]
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()

    monkeypatch.setattr(found.reconciler, "run", run)
    work = asyncio.create_task(process.work())
    await asyncio.sleep(0)
    assert not begun.is_set()
    found._adopt("a CA")  # as the certificates' part does
    found.certificates.established.set()
    async with asyncio.timeout(5):
        await work
    assert begun.is_set()
    assert authority_of(found) == ("a CA", "a CA")


async def test_no_certificate_is_managed_where_nobody_asked() -> None:
    """Nor the CA watched without a file."""
    _, process = wired(OperatorConfig("op-0"))
    assert {"certificates", "CA of the xDS server"}.isdisjoint(name for name, _ in process.parts)

"""The real Envoy and the server: what is acknowledged takes effect, what is refused does not, nothing is sent twice."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kagenti import tls
from kagenti.core import ads
from kagenti.core.ads import CLUSTER, ROUTE
from tests.component.xds import envoy as real
from tests.component.xds.serving import Serving, serving
from tests.unit.webhook.conftest import NOW, make_authority
from tests.unit.xds.waiting import eventually


@contextlib.asynccontextmanager
async def running(folder: Path, kind: ads.Kind, first: ads.Snapshot) -> AsyncIterator[tuple[Serving, real.Envoy]]:
    authority = make_authority()
    certificates = tls.Certificates(
        tls.Files(*authority.issue().write(folder)), report=lambda fault: None, now=lambda: NOW
    )
    async with serving(certificates) as served:
        served.shelf.snapshot = first
        with real.Envoy(folder, xds_port=served.server.port, authority=authority.pem, kind=kind) as envoy:
            yield served, envoy


async def settled(served: Serving, snapshot: ads.Snapshot, verdict: str = "propagated", connection: int = 1) -> None:
    """Publishes and waits for the verdict of that stream on this very snapshot."""
    served.shelf.publish(snapshot)
    await eventually(
        lambda: (
            served.diary.states
            and served.diary.states[-1][0] == connection
            and served.diary.states[-1][1].revision == snapshot.revision
            and served.diary.verdict == verdict
        )
    )


def snapshot(*resources: ads.Encoded) -> ads.Snapshot:
    return ads.Snapshot.of(resources)


GOOD = snapshot(real.cluster(), real.extension(), real.route("one"))


@pytest.mark.parametrize("kind", ["delta", "sotw"])
async def test_policy_reaches_envoy_and_a_refusal_keeps_the_last_good_one(tmp_path: Path, kind: ads.Kind) -> None:
    async with running(tmp_path, kind, GOOD) as (served, envoy):
        await settled(served, GOOD)
        await eventually(lambda: envoy.get() == (200, "one"))  # listeners open a moment after the last answer
        await settled(served, snapshot(real.cluster(), real.extension(), real.route("two")))
        assert await asyncio.to_thread(envoy.get) == (200, "two")
        bad = real.route("three", domains=("a.example", "a.example"))
        await settled(served, snapshot(real.cluster(), real.extension(), bad), "rejected")
        ((type_url, rejection),) = served.diary.states[-1][1].rejected
        assert (type_url, rejection.name) == (ROUTE, "inbound")
        assert rejection.message == (
            "Only unique values for domains are permitted. Duplicate entry of domain a.example in route inbound"
        )
        assert await asyncio.to_thread(envoy.get) == (200, "two")
        await settled(served, snapshot(real.cluster(), real.extension(), real.route("four")))
        assert await asyncio.to_thread(envoy.get) == (200, "four")
        await reconnects_without_a_byte(served, envoy)


async def reconnects_without_a_byte(served: Serving, envoy: real.Envoy) -> None:
    before = await counters(envoy)
    (conversation,) = served.server.conversations
    conversation.end("the token expires")
    await eventually(lambda: served.diary.states[-1][0] == 2 and served.diary.verdict == "propagated")
    assert await counters(envoy) == before


async def counters(envoy: real.Envoy) -> list[int]:
    """Updates that Envoy took: of clusters, of the slot, of the route table."""
    names = (
        "cluster_manager.cds.update_success",
        "extension_config_discovery.http_filter.jwt.config_reload",
        "http.inbound.rds.inbound.update_success",
    )
    return [await asyncio.to_thread(envoy.stat, name) for name in names]


async def test_a_bad_first_cluster_leaves_envoy_unready_until_it_is_mended(tmp_path: Path) -> None:
    """Were its routes sent, they would be refused too, and Envoy would call itself ready (facts §11)."""
    bad = snapshot(real.cluster(connect_timeout="-1s"), real.extension(), real.route("one"))
    async with running(tmp_path, "delta", bad) as (served, envoy):
        await settled(served, bad, "rejected")
        ((type_url, rejection),) = served.diary.states[-1][1].rejected
        assert (type_url, rejection.name) == (CLUSTER, "app")
        assert rejection.message == "Invalid duration: Expected positive duration"
        assert not await asyncio.to_thread(envoy.ready)
        await settled(served, GOOD)
        await eventually(lambda: envoy.get() == (200, "one"))


async def test_a_route_refused_for_its_clusters_sake_comes_again_when_that_is_mended(tmp_path: Path) -> None:
    first = snapshot(real.extension(), real.route("one", named=False))
    async with running(tmp_path, "delta", first) as (served, envoy):
        await settled(served, first)
        broken = snapshot(real.cluster(connect_timeout="-1s"), real.extension(), real.route("two"))
        await settled(served, broken, "rejected")
        await eventually(lambda: len(served.diary.states[-1][1].rejected) == 2)
        mended = snapshot(real.cluster(), real.extension(), real.route("two"))
        await settled(served, mended)
        assert await asyncio.to_thread(envoy.get) == (200, "two")

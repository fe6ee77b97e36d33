"""Wires one webhook process from its configuration and runs it until a signal or a death; decides nothing."""

import asyncio
import datetime
import signal
from collections.abc import Awaitable, Callable
from typing import Any, Final

import orjson

from kagenti import tls
from kagenti.core.admission.evaluate import Context
from kagenti.core.layers import LayerCache
from kagenti.core.settings import Resolver
from kagenti.kube import (
    Catalogue,
    Current,
    Feed,
    KubeClient,
    Reflect,
    Reflector,
    StoredObject,
    feeds_of,
    keep_last_valid,
)
from kagenti.kube.connection import connect
from kagenti.webhook.config import WebhookConfig
from kagenti.webhook.journal import Journal, open_journal
from kagenti.webhook.metrics import Metrics
from kagenti.webhook.process import Process
from kagenti.webhook.reads import Get, Reads
from kagenti.webhook.reviews import Reviews
from kagenti_api.v1alpha1 import wellknown

JSON = Any  # a raw MutatingWebhookConfiguration

_CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{}"


def main(config: WebhookConfig) -> int:
    """Runs one process on uvloop where there is one; returns its exit code.

    Raises:
        InputError: Certificate, kubeconfig or another setting cannot be used.
    """
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(run(config))


async def run(config: WebhookConfig) -> int:
    """Runs one process on the running loop; 0 after SIGTERM or SIGINT and draining, 1 when a part of it died."""
    journal = open_journal(config.log_level)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connection = await asyncio.to_thread(connect, config.kubeconfig)  # an exec plugin runs a loop of its own
    async with KubeClient(connection, user_agent=f"kagenti-webhook/{config.installation.version}") as client:
        process = assemble(config, client, journal=journal, reflect=_reflect(client, config))
        return await process.serve(stop)


def assemble(config: WebhookConfig, client: Get, *, journal: Journal, reflect: Reflect) -> Process:
    """Returns the process of a configuration; a test gives another client, or reflectors that are late.

    Args:
        config: The configuration.
        client: Reads the API server.
        journal: The log.
        reflect: Makes the reflector that fills a store.
    """
    catalogue, layers = Catalogue(), LayerCache()
    keep_last_valid(catalogue, layers)
    reflectors = {kind.plural: reflect(kind, catalogue.stores[name]) for name, kind in catalogue.kinds.items()}
    reads, feeds = Reads(client, Current(reflectors)), feeds_of(catalogue, lambda kind, _: reflectors[kind.plural])
    files = tls.Files(config.certificate, config.key, config.client_ca)
    certificates = tls.Certificates(files, report=journal.logger.error, now=_now)
    metrics = _metrics(catalogue, feeds, reads, certificates)
    reviews = _reviews(config, catalogue, reads, layers, journal=journal, metrics=metrics)
    authorities = None
    if config.xds_ca is not None:
        authorities = tls.Authorities(config.xds_ca, what="the xDS server's ca.crt", report=journal.logger.error)
        reviews.trust(authorities.pem)
    return Process(
        config,
        journal=journal,
        certificates=certificates,
        feeds=feeds,
        metrics=metrics,
        entries=reviews.entries(),
        authorities=authorities,
        trust=reviews.trust,
        now=_now,
        configuration=_configuration(client, config.webhook_configuration),
    )


def _reflect(client: KubeClient, config: WebhookConfig) -> Reflect:
    """Returns what makes reflectors; in strict a cache counts again, after an outage, once it has been listed anew."""
    return lambda kind, store: Reflector(client, kind, store, afresh=config.consistency == "strict")


def _reviews(
    config: WebhookConfig, catalogue: Catalogue, reads: Reads, layers: LayerCache, *, journal: Journal, metrics: Metrics
) -> Reviews:
    resolver = Resolver(
        cluster_domain=config.installation.cluster_domain,
        is_namespace=lambda name: catalogue.namespace_labels(name) is not None,
    )
    return Reviews(
        view=catalogue,
        cluster=reads,
        context=Context(
            mode=config.mode,
            installation=config.installation,
            resolver=resolver,
            by_workload=config.target == "workloads",
        ),
        layers=layers,
        target=config.target,
        consistency=config.consistency,
        journal=journal,
        metrics=metrics,
        now=_now,
    )


def _metrics(
    catalogue: Catalogue, feeds: list[Feed[StoredObject]], reads: Reads, certificates: tls.Certificates
) -> Metrics:
    return Metrics(
        feeds=lambda: {feed.resource: feed.state() for feed in feeds},
        reads=reads.counts,
        certificate=lambda: (certificates.leaf.seconds_left(_now()), certificates.reloads, certificates.failures),
        break_glass=lambda: sum(
            wellknown.BREAK_GLASS_LABEL in (catalogue.namespace_labels(name) or ()) for name in catalogue.namespaces()
        ),
    )


def _configuration(client: Get, name: str) -> Callable[[], Awaitable[JSON]] | None:
    if not name:
        return None

    async def read() -> JSON:
        return orjson.loads(await client.get(_CONFIGURATIONS.format(name)))

    return read


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # optional: 1.2 to 1.5 times less CPU, absent on some platforms
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory

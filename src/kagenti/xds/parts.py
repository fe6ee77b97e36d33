"""The parts of one xDS process and how they hear of each other; decides nothing."""

import datetime
from collections.abc import Mapping, Sequence
from logging import Logger

from kagenti import tls
from kagenti.core import delivery
from kagenti.core.layers import LayerCache
from kagenti.core.settings import Resolver
from kagenti.kube import PODS, AnyFeed, Feed, KubeClient, OwnerReader, Reflector, feeds_of, keep_last_valid
from kagenti.xds import debug, messages
from kagenti.xds.builder import Builder
from kagenti.xds.catalogue import Catalogue
from kagenti.xds.census import Census
from kagenti.xds.config import XdsConfig
from kagenti.xds.encoding import Encoder
from kagenti.xds.fetch import Fetch
from kagenti.xds.figures import Reporter
from kagenti.xds.identity import PodAuthenticator
from kagenti.xds.keys import Keyring
from kagenti.xds.metrics import Metrics, Readings, Table
from kagenti.xds.observers import Logbook, Observers, Stopwatch
from kagenti.xds.pods import Pods
from kagenti.xds.process import Part, Process
from kagenti.xds.propagation import Publisher
from kagenti.xds.reviews import TokenReviewer
from kagenti.xds.server import Options, Server
from kagenti.xds.snapshots import Snapshots
from kagenti.xds.tokens import ClusterKeys, TokenVerifier


class Caches:
    """What the process knows of the cluster, and what keeps it fresh."""

    def __init__(self, client: KubeClient, logger: Logger) -> None:
        self.catalogue, self.layers = Catalogue(), LayerCache()
        keep_last_valid(self.catalogue, self.layers)
        self.owners = OwnerReader(client)
        self.pods = Pods(client, self.owners, logger=logger)
        self.feeds: list[AnyFeed] = [
            *feeds_of(self.catalogue, lambda kind, store: Reflector(client, kind, store)),
            Feed(PODS, self.pods.store, Reflector(client, PODS, self.pods.store)),
        ]

    def counts(self) -> Mapping[str, int]:
        """Returns the number of managed pods, and of those whose owner is not known yet."""
        return {"managed": len(self.pods.store), "unresolved": len(self.pods.unresolved())}

    def identity_providers(self) -> Sequence[str]:
        """Returns ``policy.identityProviders`` of the cluster's config in its version in force."""
        stored = self.catalogue.cluster_config()
        layer = self.layers.read("cluster", stored).layer if stored is not None else None
        return layer.identity_providers if layer is not None else ()


class Parts:
    """Everything of one process but its caches and its sockets.

    Args:
        config: The configuration.
        client: The API server.
        caches: What is known of the cluster.
        fetch: Fetches key sets.
        logger: The log.
    """

    def __init__(self, config: XdsConfig, client: KubeClient, caches: Caches, *, fetch: Fetch, logger: Logger) -> None:
        catalogue, pods, layers = caches.catalogue, caches.pods, caches.layers
        domain = config.installation.cluster_domain
        self._config, self._caches, self._logger = config, caches, logger
        self.keys, self.encoder = Keyring(fetch, logger=logger), Encoder(messages.encode)
        self.builder = Builder(
            catalogue=catalogue,
            keys=self.keys,
            layers=layers,
            context=delivery.Context(config.installation, Resolver(cluster_domain=domain)),
            encoder=self.encoder,
            logger=logger,
        )
        self.snapshots = Snapshots(catalogue=catalogue, pods=pods, keys=self.keys, builder=self.builder)
        self.census, self.stopwatch = Census(self.snapshots, pods), Stopwatch()
        self.publisher = Publisher(
            client,
            replica=config.replica,
            catalogue=catalogue,
            reporter=Reporter(
                catalogue=catalogue, pods=pods, census=self.census, snapshots=self.snapshots, layers=layers
            ),
            logger=logger,
            busy=lambda: self.snapshots.busy,
        )
        self.cluster_keys, self.reviewer = ClusterKeys(client, logger=logger), TokenReviewer(client)
        files = tls.Files(config.certificate, config.key)
        self.certificates = tls.Certificates(files, report=logger.error, now=_now)

    def process(self, parts: Sequence[Part]) -> Process:
        """Returns the process; ``parts`` are further tasks that it depends on."""
        own = [("snapshots", self.snapshots.run), ("owners", self._caches.pods.run), ("keys", self.keys.run)]
        return Process(
            self._config,
            logger=self._logger,
            certificates=self.certificates,
            feeds=self._caches.feeds,
            server=self._server(),
            publisher=self.publisher,
            parts=[*own, *parts],
            metrics=self.metrics().render,
            debug=debug.pages(self.census, self.snapshots, self.keys),
            now=_now,
        )

    def metrics(self) -> Metrics:
        """Returns what is shown to a scrape."""
        return Metrics(self._readings())

    def _server(self) -> Server:
        return Server(
            authenticator=PodAuthenticator(TokenVerifier(self.cluster_keys), self.reviewer, self._caches.pods),
            snapshots=self.snapshots,
            observer=Observers((self.census, Logbook(self._logger), self.stopwatch)),
            certificates=self.certificates,
            options=Options(host=self._config.host, port=self._config.port),
        )

    def _readings(self) -> Readings:
        leaf, feeds = self.certificates, self._caches.feeds
        return Readings(
            tables=(*self._gauges(), *self._counters()),
            feeds=lambda: {feed.resource: feed.state() for feed in feeds},
            certificate=lambda: (leaf.leaf.seconds_left(_now()), leaf.reloads, leaf.failures),
            stopwatch=self.stopwatch,
            build_seconds=lambda: self.builder.seconds,
        )

    def _gauges(self) -> tuple[Table, ...]:
        return (
            Table("kagenti_xds_proxies", "Connected proxies by verdict.", "verdict", self.census.verdicts),
            Table(
                "kagenti_xds_pods", "Managed pods; those whose owner is not known yet.", "state", self._caches.counts
            ),
            Table(
                "kagenti_xds_snapshots",
                "Snapshots; those kept back, and due to be built.",
                "state",
                self.snapshots.counts,
            ),
            Table("kagenti_xds_key_sets", "Key sets of identity providers by state.", "state", self.keys.counts),
        )

    def _counters(self) -> tuple[Table, ...]:
        pods, owners = self._caches.pods, self._caches.owners
        rows = (
            ("streams", "Streams opened, closed, refused; refusals by Envoys.", "event", lambda: self.stopwatch.events),
            ("builds", "Builds of snapshots by outcome.", "outcome", lambda: self.builder.outcomes),
            ("resources", "Resources encoded, and found encoded.", "how", self.encoder.counts),
            ("key_fetches", "Fetches of key sets by outcome.", "outcome", lambda: self.keys.outcomes),
            ("status_writes", "Writes of status by outcome.", "outcome", lambda: self.publisher.writes),
            (
                "api_reads",
                "API calls made in order to decide, by kind of call.",
                "call",
                lambda: {
                    "pod": pods.reads,
                    "owner": owners.reads,
                    "keys": self.cluster_keys.fetches,
                    "review": self.reviewer.reviews,
                },
            ),
        )
        return tuple(Table(f"kagenti_xds_{name}", text, label, read, counter=True) for name, text, label, read in rows)


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)

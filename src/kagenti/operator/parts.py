"""The parts of one operator process and how they hear of each other; decides nothing."""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson

from kagenti import errors, tls
from kagenti.core import workload
from kagenti.core.admission.desk import Desk
from kagenti.core.admission.evaluate import Context
from kagenti.core.layers import LayerCache
from kagenti.core.reconcile import Target
from kagenti.core.settings import Resolver
from kagenti.core.store import Store
from kagenti.kube import (
    AGENT_CARDS,
    AnyFeed,
    Feed,
    FeedState,
    KubeClient,
    OwnerReader,
    Reflector,
    SettledCatalogue,
    StoredObject,
    keep_last_valid,
)
from kagenti.kube.connection import Connection
from kagenti.operator.cards import AgentCards
from kagenti.operator.census import Census
from kagenti.operator.certificates import ManagedCertificates
from kagenti.operator.config import OperatorConfig
from kagenti.operator.disruptions import Disruptor
from kagenti.operator.lag import Lag
from kagenti.operator.lease import Lease
from kagenti.operator.metrics import Metrics, Readings
from kagenti.operator.ownership import Ownership
from kagenti.operator.pods import OBSERVED_PODS, ObservedPod
from kagenti.operator.population import Population
from kagenti.operator.process import Part, Process
from kagenti.operator.queue import Queue
from kagenti.operator.reconciler import Reconciler
from kagenti.operator.rollouts import Rollouts
from kagenti.operator.routes import Key, Routes
from kagenti.operator.status import StatusWriter
from kagenti.operator.targets import Targets, facts_of
from kagenti.operator.watches import Watches
from kagenti.operator.webhook_ready import WebhookReadiness
from kagenti_api.v1alpha1 import wellknown

OURS: Final = ("AgentRuntime", "AgentRuntimeConfig", "AgentRuntimeClusterConfig")
"""Kinds that kopf watches, AgentCards besides."""
_XDS: Final = "kagenti-xds-"
"""How the names of the xDS server's pods begin."""
_CA_POLL: Final = 1.0  # seconds between two looks at the CA's file, as in the webhook
_CRD_POLL: Final = 2.0  # seconds between two looks whether the CRDs are there


class Parts:
    """Everything of one process but its sockets.

    Args:
        config: The configuration.
        connection: Where the API server is.
        client: Reads and writes there.
        logger: The log.
    """

    def __init__(
        self, config: OperatorConfig, connection: Connection, client: KubeClient, *, logger: logging.Logger
    ) -> None:
        self.config, self.client, self.logger = config, client, logger
        self.catalogue, self.layers = SettledCatalogue(), LayerCache()
        self.cards = Store[StoredObject](AGENT_CARDS.indexes)
        keep_last_valid(self.catalogue, self.layers)
        self.owners = OwnerReader(client)
        self.population = Population(self.owners, concerned=self._concerned, logger=logger)
        self.targets = Targets(client, pods=self._pod_target, logger=logger)
        self.queue: Queue[Key] = Queue()
        self.routes = Routes(self.queue, self.catalogue, self.population, self.targets)
        self.writer = StatusWriter(client, identity=config.identity, logger=logger)
        self.agent_cards = AgentCards(
            client,
            store=self.cards,
            pods=self.population.store,
            owners=self.owners,
            writer=self.writer,
            networks=config.pod_networks,
            logger=logger,
        )
        self.census = Census()
        self.watches = Watches(
            connection,
            {**{name: self.catalogue.kinds[name] for name in OURS}, AGENT_CARDS.name: AGENT_CARDS},
            {**self.catalogue.stores, AGENT_CARDS.name: self.cards},
            user_agent=agent(config),
            logger=logger,
        )
        self.authorities = None
        if config.xds_ca is not None and not config.manage_certificates:
            self.authorities = tls.Authorities(config.xds_ca, what="the xDS server's ca.crt", report=logger.error)
        self._authority = self.authorities.pem if self.authorities is not None else ""
        self.certificates = ManagedCertificates(client, config, adopt=self._adopt, logger=logger)
        self.desk = Desk(self.catalogue, self.layers, self._context())
        self.disruptor = Disruptor(client)
        self.rollouts = self._rollouts()
        self.ownership = Ownership(client, namespace=config.installation.release_namespace, logger=logger)
        self.metrics = Metrics(self._readings())
        self.reconciler = self._reconciler()
        self.population.store.on_change(self._pod_changed)
        self.lease = Lease(
            client,
            namespace=config.installation.release_namespace,
            identity=config.identity,
            seconds=config.lease_seconds,
            logger=logger,
        )

    def process(self) -> Process:
        """Returns the process."""
        namespaces, pods = self.catalogue.kinds["Namespace"], self.population.store
        self._standing: list[AnyFeed] = [
            Feed(namespaces, self.catalogue.stores["Namespace"], self._reflector_of_namespaces()),
            Feed(OBSERVED_PODS, pods, Reflector(self.client, OBSERVED_PODS, pods)),
        ]
        self._leading: list[AnyFeed] = [
            Feed(watched.kind, watched.store, watched) for watched in self.watches.watched.values()
        ]
        parts: list[Part] = [
            ("targets", self.targets.run),
            ("owners", self.population.run),
            ("events", self.writer.run),
            ("agent cards", self.agent_cards.run),
            ("rollouts", self.rollouts.driver.run),
            ("ownership", self.ownership.run),
        ]
        if self.config.manage_certificates:
            parts.append(("certificates", self.certificates.run))
        if self.authorities is not None:
            parts.append(("CA of the xDS server", self._watch_authority))
        return Process(
            self.config,
            logger=self.logger,
            lease=self.lease,
            standing=self._standing,
            leading=self._leading,
            prerequisite=self._crds,
            watches=self.watches.run,
            parts=parts,
            work=self._reconcile,
            metrics=self.metrics.render,
            kinds=self._target_feeds,
        )

    def _reflector_of_namespaces(self) -> Reflector[StoredObject]:
        return Reflector(self.client, self.catalogue.kinds["Namespace"], self.catalogue.stores["Namespace"])

    def _context(self) -> Context:
        resolver = Resolver(
            cluster_domain=self.config.installation.cluster_domain,
            is_namespace=lambda name: self.catalogue.namespace_labels(name) is not None,
        )
        installation = replace(self.config.installation, xds_authority=self._authority)
        by_workload = self.config.target == "workloads"
        return Context(self.config.mode, installation, resolver, by_workload=by_workload)

    async def _reconcile(self) -> None:
        """Begins once it is known which CA the webhook puts into pods: without it each of them would look stale."""
        if self.config.manage_certificates:
            await self.certificates.established.wait()
        await self.reconciler.run()

    async def _watch_authority(self) -> None:
        while True:
            await asyncio.sleep(_CA_POLL)
            if self.authorities is not None and self.authorities.reload():
                self._adopt(self.authorities.pem)

    def _adopt(self, authority: str) -> None:
        """Compares pods with what the webhook makes of them from now on: the CA of the xDS server is another one."""
        first, self._authority = not self._authority, authority
        self.reconciler.desk = self.rollouts.desk = replace(self.desk, context=self._context())
        if not first:
            self.logger.info("CA of the xDS server reloaded; pods that carry the old one are stale")
            for stored in self.routes.everything():
                self.routes.mark(stored)

    def _reconciler(self) -> Reconciler:
        return Reconciler(
            self.queue,
            desk=self.desk,
            catalogue=self.catalogue,
            population=self.population,
            targets=self.targets,
            routes=self.routes,
            writer=self.writer,
            replicas=self._replicas,
            census=self.census,
            owners=self.owners,
            lag=Lag(self.metrics.propagated),
            logger=self.logger,
            rollouts=self.rollouts,
        )

    def _rollouts(self) -> Rollouts:
        by_workload = self.desk.context.by_workload
        return Rollouts(
            self.disruptor,
            WebhookReadiness(self.client, mode=self.config.mode, by_workload=by_workload),
            desk=self.desk,
            catalogue=self.catalogue,
            population=self.population,
            targets=self.targets,
            writer=self.writer,
            mark=self.routes.mark,
            may_restart=self.config.allow_restart,
            logger=self.logger,
        )

    def _concerned(self, namespace: str) -> bool:
        return self.routes.concerned(namespace)

    def _pod_target(self, namespace: str, name: str) -> Target:
        found = self.population.store.get(namespace, name)
        if found is None:
            return Target("missing")
        return facts_of({"apiVersion": "v1", "kind": "Pod", **found.manifest()})

    def _replicas(self) -> frozenset[str]:
        """Returns the pods of the release namespace: an xDS replica has its pod's name."""
        pods = self.population.store.by_index("namespace", self.config.installation.release_namespace)
        return frozenset(pod.name for pod in pods if pod.phase not in ("Succeeded", "Failed"))

    def _pod_changed(self, old: ObservedPod | None, new: ObservedPod | None) -> None:
        self.metrics.pod_changed(old, new)
        if new is None and old is not None and old.namespace == self.config.installation.release_namespace:
            for stored in self.routes.everything():
                if old.name.encode() in stored.status:
                    self.routes.mark(stored)
        either = new or old
        if either is not None and (old is None or new is None) and either.owner is None:
            self._tell_pod(either)

    def _tell_pod(self, pod: ObservedPod) -> None:
        """A standalone pod is its own target: it has come or gone."""
        reference = workload.WorkloadRef("", "Pod", pod.namespace, pod.name)
        for runtime in self.catalogue.runtimes_for(reference):
            self.routes.mark(runtime)

    async def _crds(self) -> None:
        """Waits until the API server serves our kinds: kopf looks once, and would then watch what it found."""
        wanted = {kind.kind.plural for kind in self.watches.watched.values()}
        said = ""
        while True:
            try:
                listed = orjson.loads(await self.client.get(f"/apis/{wellknown.API_VERSION}"))
                missing = wanted - {resource["name"] for resource in listed["resources"]}
            except errors.NotFound:
                missing = wanted
            except errors.ClusterError as problem:
                self.logger.warning("CRDs cannot be looked for", extra={"fields": {"problem": str(problem)}})
                missing = wanted
            if not missing:
                return
            names = ", ".join(f"{plural}.{wellknown.GROUP}" for plural in sorted(missing))
            if names != said:
                said = names
                self.logger.warning("CRDs are missing: run kagenti crds --apply", extra={"fields": {"missing": names}})
            await asyncio.sleep(_CRD_POLL)

    def _target_feeds(self) -> Mapping[str, FeedState]:
        now = time.monotonic()
        return {
            plural: FeedState(objects=len(found.store), age=now - found.last_event, relists=max(found.relists - 1, 0))
            for plural, found in self.targets.feeds().items()
        }

    def _readings(self) -> Readings:
        return Readings(
            leading=lambda: self.lease.held,
            feeds=lambda: {
                **{feed.resource: feed.state() for feed in (*self._standing, *self._leading)},
                **self._target_feeds(),
            },
            pods=self.census.pods,
            workloads=self.census.workloads,
            queue=lambda: len(self.queue),
            outcomes=lambda: self.reconciler.outcomes,
            writes=lambda: self.writer.writes,
            events=lambda: self.writer.events,
            owner_reads=lambda: self.owners.reads,
            cards=self.agent_cards.states,
            card_rounds=self.agent_cards.rounds,
            cards_late=self.agent_cards.late,
            disruptions=lambda: self.disruptor.counts,
            replacements=self.rollouts.driver.under_way,
            certificates=self.certificates.seconds_left,
            certificate_steps=self.certificates.steps,
            certificate_failures=lambda: self.certificates.failures,
        )


def agent(config: OperatorConfig) -> str:
    """Returns the user agent of a replica: the API server's audit log then tells which one wrote."""
    return f"kagenti-operator/{config.installation.version} ({config.identity})"

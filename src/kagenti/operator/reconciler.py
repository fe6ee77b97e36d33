"""Takes what is due, gathers the facts from the caches, asks core what follows, and carries it out; decides nothing."""

import asyncio
import datetime
import logging
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from kagenti import errors
from kagenti.core import layers as gathering
from kagenti.core import reconcile
from kagenti.core.admission.desk import Desk
from kagenti.core.admission.evaluate import policy_of
from kagenti.core.layers import LayerCache
from kagenti.core.reconcile import Plan, Rollout, RuntimeFacts, Surroundings, Tools, Verdicts
from kagenti.core.trigger import OwnerProof
from kagenti.core.workload import OwnerReference, WorkloadRef
from kagenti.kube import SettledCatalogue, StoredObject
from kagenti.operator.census import Census
from kagenti.operator.keys import CLUSTER, RUNTIME, key_of
from kagenti.operator.lag import Lag
from kagenti.operator.pods import ObservedPod
from kagenti.operator.population import Population
from kagenti.operator.queue import Queue
from kagenti.operator.routes import Key, Routes
from kagenti.operator.status import StatusWriter
from kagenti.operator.targets import Targets

WORKERS: Final = 16
"""Objects in work at once; while a write is on its way others are planned."""
_SOON: Final = 0.2  # seconds until facts that are still being read are looked at again


class Owners(Protocol):
    """Proves that the top of an owner chain exists; raises ClusterError."""

    async def proof_of(self, reference: OwnerReference, namespace: str) -> OwnerProof:
        """Returns whether it does, under its UID."""


class Rollouts(Protocol):
    """Acts on bare and stale pods (``core.rollout``); the seam for whoever evicts and restarts."""

    def undertaken(self, stored: StoredObject) -> Rollout:
        """Returns what was undertaken for the pods of an AgentRuntime."""

    def consider(self, stored: StoredObject, facts: RuntimeFacts, plan: Plan) -> None:
        """Takes what was found of its pods; may act later, and then has the object looked at again."""


class NoRollouts:
    """Reports only."""

    def undertaken(self, stored: StoredObject) -> Rollout:  # noqa: ARG002  # a Rollouts
        """Nothing."""
        return Rollout()

    def consider(self, stored: StoredObject, facts: RuntimeFacts, plan: Plan) -> None:
        """Does nothing."""


class Reconciler:
    """The workers of one process; ``desk`` may be replaced. ``now`` (aware) is the clock, for tests.

    Args:
        queue: What is due.
        desk: Objects of ours, parsed layers, the context of evaluations; as the validating webhook has them.
        catalogue: The caches of our kinds.
        population: The pods by workload.
        targets: The targeted objects.
        routes: Counts whom a config reaches.
        writer: Writes.
        replicas: Returns the names of the xDS pods that exist.
        census: Remembers what was found of pods, for metrics.
        owners: Proves owners.
        lag: Times how long changes take, for metrics.
        logger: The log.
        rollouts: Acts on pods.
    """

    def __init__(
        self,
        queue: Queue[Key],
        *,
        desk: Desk,
        catalogue: SettledCatalogue,
        population: Population,
        targets: Targets,
        routes: Routes,
        writer: StatusWriter,
        replicas: Callable[[], frozenset[str]],
        census: Census,
        owners: Owners,
        lag: Lag,
        logger: logging.Logger,
        rollouts: Rollouts | None = None,
        now: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._queue, self.desk, self._catalogue, self._population = queue, desk, catalogue, population
        self._targets, self._routes, self._writer, self._replicas = targets, routes, writer, replicas
        self._census, self._owners, self._lag = census, owners, lag
        self._logger, self._now = logger, now
        self.rollouts: Rollouts = rollouts or NoRollouts()
        self._verdicts = Verdicts()
        self.outcomes: Counter[str] = Counter()

    @property
    def _layers(self) -> LayerCache:
        return self.desk.layers

    async def run(self) -> None:
        """Works until cancelled; the caches have had their first full lists."""
        async with asyncio.TaskGroup() as group:
            for number in range(WORKERS):
                group.create_task(self._work(), name=f"worker {number}")

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            failed = False
            try:
                await self._reconcile(key)
            except errors.NotFound:
                self.outcomes["gone"] += 1
            except errors.Conflict:  # another object of that name: its event is on the way
                self.outcomes["replaced"] += 1
            except errors.ClusterError as problem:
                failed = True
                self.outcomes["failed"] += 1
                fields = {"object": str(key), "problem": str(problem)}
                self._logger.warning("status cannot be written", extra={"fields": fields})
            except Exception:  # one object must not end the process: it is ours to mend, and said
                failed = True
                self.outcomes["defect"] += 1
                self._logger.exception("status cannot be made", extra={"fields": {"object": str(key)}})
            finally:
                self._queue.done(key, failed=failed)

    async def _reconcile(self, key: Key) -> None:
        if isinstance(key, WorkloadRef):
            self._count(key)
            return
        stored = self._catalogue.stores[key.kind].get(key.namespace, key.name)
        if stored is None or stored.deleting:
            self._lag.forget(key)
            return
        if key.kind == RUNTIME and not self._known(stored):
            self._queue.mark(key, after=_SOON)
            return
        if key.kind == RUNTIME:
            plan = self._plan_runtime(stored, proof=await self._proof(stored))
            self._lag.note(key, plan.revision, acknowledged=plan.acknowledged)
        else:
            plan = self._plan_config(stored)
        if plan.status is not None:
            self._routes.wrote(key, await self._writer.write(stored, plan.status))
            self.outcomes["written"] += 1
            self._writer.tell(stored, plan.events)
        else:
            self.outcomes["unchanged"] += 1
        await self._sweep(stored, plan)

    def _known(self, stored: StoredObject) -> bool:
        """Whether everything that its status follows from has been read; nothing is written from half of it."""
        target = stored.target
        if target is not None and not self._targets.settled((target.group, target.kind)):
            return False
        return self._population.settled(stored.namespace)

    async def _proof(self, stored: StoredObject) -> OwnerProof | None:
        """Returns what is found of the owner where an exemption from Mandatory may hang on it, as the webhook asks it."""
        target, around = stored.target, self._around(stored.namespace)
        sources = self._layers.gather(cluster=around.cluster, namespace=around.namespace)
        policy = policy_of(stored.namespace, sources=sources, namespace_labels=around.namespace_labels)
        if target is None or policy is None or not (policy.mandatory and policy.exempt):
            return None
        owner = next((pod.owner for pod in self._pods(target) if pod.owner is not None), None)
        return await self._owners.proof_of(owner, stored.namespace) if owner is not None else None

    def _plan_runtime(self, stored: StoredObject, *, proof: OwnerProof | None) -> Plan:
        facts = self._facts(stored, proof)
        plan = reconcile.plan_runtime(facts, self._tools())
        winner = gathering.pick_runtime(facts.rivals)
        if stored.target is not None and winner is not None and winner.name == stored.name:
            self._census.take(stored.target, plan.judged.values(), with_runtime=True)
        self.rollouts.consider(stored, facts, plan)
        return plan

    def _facts(self, stored: StoredObject, proof: OwnerProof | None) -> RuntimeFacts:
        target = stored.target
        settled = self._settled(stored)
        rivals = self._catalogue.runtimes_for(target) if target is not None else (settled,)
        return RuntimeFacts(
            stored=settled,
            generation=stored.generation,
            status=reconcile.status_of(stored.status),
            around=self._around(stored.namespace),
            rivals=rivals,
            target=self._targets.find(target) if target is not None else reconcile.Target("missing"),
            pods=self._pods(target) if target is not None else (),
            proof=proof,
            rollout=self.rollouts.undertaken(stored),
        )

    def _settled(self, stored: StoredObject) -> StoredObject:
        """Returns an AgentRuntime in the version of its last change of spec, so that its layer is parsed once."""
        candidates = self._catalogue.runtimes_for(stored.target) if stored.target is not None else ()
        return next((found for found in candidates if found.name == stored.name), stored)

    def _around(self, namespace: str) -> Surroundings:
        view = self._catalogue
        return Surroundings(
            cluster=view.cluster_config(),
            namespace=view.namespace_config(namespace),
            namespace_labels=view.namespace_labels(namespace) or {},
            coverage=self.desk.coverage(namespace),
        )

    def _pods(self, workload: WorkloadRef) -> tuple[ObservedPod, ...]:
        return tuple(pod for pod in self._population.of(workload) if pod.live)

    def _plan_config(self, stored: StoredObject) -> Plan:
        view = self._catalogue
        settled = view.cluster_config() if stored.kind == CLUSTER else view.namespace_config(stored.namespace)
        facts = reconcile.ConfigFacts(
            layer="cluster" if stored.kind == CLUSTER else "namespace",
            stored=settled or stored,
            generation=stored.generation,
            status=reconcile.status_of(stored.status),
            usage=self._routes.usage.of(stored.namespace),
        )
        return reconcile.plan_config(facts, self.desk, self._tools())

    def _count(self, workload: WorkloadRef) -> None:
        """Counts the pods of a workload that no AgentRuntime targets, for metrics."""
        around, tools = self._around(workload.namespace), self._tools()
        sources = self._layers.gather(cluster=around.cluster, namespace=around.namespace)
        judged = reconcile.judged_pods(workload, self._pods(workload), sources=sources, around=around, tools=tools)
        self._census.take(workload, judged.values(), with_runtime=False)

    async def _sweep(self, stored: StoredObject, plan: Plan) -> None:
        """Takes away what xDS replicas left behind that no longer exist."""
        status, alive, tools = reconcile.status_of(stored.status), self._replicas(), self._tools()
        for replica in reconcile.left_behind(status, alive):
            await self._writer.prune(stored, replica)
            fields = {"object": str(key_of(stored)), "replica": replica}
            self._logger.info("replica pruned from status", extra={"fields": fields})
        word = reconcile.last_word(status, alive, proxies=plan.proxies, generation=stored.generation, tools=tools)
        if word is not None:
            await self._writer.conclude(stored, word)

    def _tools(self) -> Tools:
        return Tools(self._layers, self.desk.context, self._now(), self._verdicts)

"""Between the reconciler and the driver: what was found of a workload's pods goes in, what is done about them comes out."""

import datetime
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from kagenti.core import layers as gathering
from kagenti.core import rollout, settings
from kagenti.core.admission.desk import Desk
from kagenti.core.layers import Stored
from kagenti.core.reconcile import Event, Judged, Plan, Rollout, RuntimeFacts, Undertaken, conditions, status_of
from kagenti.core.rollout import Evict, Pod, Prospect, RestartWorkload
from kagenti.core.workload import WorkloadRef
from kagenti.kube import SettledCatalogue, StoredObject
from kagenti.operator.driver import Disruptor, Driver, Readiness, Seen
from kagenti.operator.keys import RUNTIME
from kagenti.operator.pods import ObservedPod
from kagenti.operator.population import Population
from kagenti.operator.status import StatusWriter
from kagenti.operator.targets import Targets
from kagenti_api.v1alpha1.agentruntime import GIVEN_UP, PODS_INJECTED, ROLLOUT_REASONS

JSON = Any  # a raw pod

_MIRROR: Final = "kubernetes.io/config.mirror"
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Rollouts:
    """The rollouts of one process, as the reconciler knows them; ``driver`` is to be run by whoever leads.

    ``desk`` may be replaced, together with the reconciler's.

    Args:
        disruptor: Evicts and restarts.
        webhook: Whether the webhook is ready.
        desk: Objects of ours, parsed layers, the context of evaluations; as the webhook has them.
        catalogue: The caches of our kinds.
        population: The pods by workload.
        targets: The targeted objects.
        writer: Tells events.
        mark: Has an AgentRuntime looked at again.
        may_restart: Whether workloads may be restarted at all.
        logger: The log.
        clock: The clock, aware.
    """

    def __init__(
        self,
        disruptor: Disruptor,
        webhook: Readiness,
        *,
        desk: Desk,
        catalogue: SettledCatalogue,
        population: Population,
        targets: Targets,
        writer: StatusWriter,
        mark: Callable[[StoredObject], None],
        may_restart: bool,
        logger: logging.Logger,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self.desk, self._catalogue, self._population, self._targets = desk, catalogue, population, targets
        self._writer, self._mark, self._may_restart, self._clock = writer, mark, may_restart, clock
        self.driver: Final = Driver(
            disruptor, self._examine, webhook, told=self._told, acted=self._acted, logger=logger, clock=clock
        )
        catalogue.stores[RUNTIME].on_change(self._runtime_changed)

    def undertaken(self, stored: StoredObject) -> Rollout:
        """Returns what was undertaken for the pods of an AgentRuntime; what its condition says, before the first step.

        Otherwise a new leader would take back what its predecessor has said, and say it again a moment later.
        """
        found = self.driver.reports(stored.target) if stored.target is not None else ()
        if found is None:
            return _said_before(stored)
        said = {report.topic: Undertaken(report.reason, report.message) for report in found}
        return Rollout(bare=said.get("bare"), stale=said.get("stale"))

    def consider(self, stored: StoredObject, facts: RuntimeFacts, plan: Plan) -> None:
        """Takes what was found of its pods, where it is the AgentRuntime in force."""
        winner = gathering.pick_runtime(facts.rivals)
        if stored.target is None or winner is None or winner.name != stored.name:
            return
        known = self._targets.controller(stored.target)
        self.driver.observe(
            Seen(
                target=stored.target,
                uid=known.uid,
                pods=tuple(_pod(pod, plan.judged) for pod in self._population.of(stored.target)),
                controller=known.controller,
                policy=rollout.policy_of(orjson.loads(stored.spec), may_restart=self._may_restart),
                circumstances=self._circumstances(facts),
                condition=_condition(facts.status),
            )
        )

    def _circumstances(self, facts: RuntimeFacts) -> str:
        """Returns a hash of everything of ours, and of the namespace, that a decision about the pods hangs on."""
        layers = (facts.around.cluster, facts.around.namespace, *sorted(facts.rivals, key=lambda rival: rival.name))
        return settings.digest(
            [
                [_version(layer) for layer in layers],
                dict(facts.around.namespace_labels),
                self.desk.context.installation.version,
            ]
        )

    async def _examine(self, target: WorkloadRef, raw: JSON) -> Prospect:
        """Returns what the replacement of a pod would be, by the layers as they are now."""
        view, namespace = self._catalogue, target.namespace
        if self.desk.context.by_workload:
            return rollout.AS_ITS_TEMPLATE
        return rollout.prospect(
            raw,
            owner=target,
            sources=self.desk.layers.gather(
                cluster=view.cluster_config(),
                namespace=view.namespace_config(namespace),
                runtimes=view.runtimes_for(target),
            ),
            context=self.desk.context,
            namespace_labels=view.namespace_labels(namespace) or {},
            coverage=self.desk.coverage(namespace),
            now=self._clock(),
        )

    def _told(self, target: WorkloadRef) -> None:
        stored = self._in_force(target)
        if stored is not None:
            self._mark(stored)

    def _acted(self, target: WorkloadRef, action: Evict | RestartWorkload) -> None:
        stored = self._in_force(target)
        if stored is not None:
            self._writer.tell(stored, (_event(target, action),))

    def _in_force(self, target: WorkloadRef) -> StoredObject | None:
        found = self._catalogue.stores[RUNTIME].by_index("target", target)
        winner = gathering.pick_runtime(found)
        return next((stored for stored in found if stored is winner), None)

    def _runtime_changed(self, old: StoredObject | None, new: StoredObject | None) -> None:
        if old is not None and old.target is not None and new is None and self._in_force(old.target) is None:
            self.driver.forget(old.target)


def _said_before(stored: StoredObject) -> Rollout:
    reason, message = _condition(status_of(stored.status))
    if reason not in ROLLOUT_REASONS:
        return Rollout()
    said = Undertaken(reason, message if reason in GIVEN_UP else message.partition(": ")[2])
    return Rollout(bare=said, stale=said)


def _condition(status: Mapping[str, JSON]) -> tuple[str, str]:
    """Returns reason and message of PodsInjected; both empty without it."""
    found = conditions.find(conditions.observed_in(status), PODS_INJECTED)
    return str(found.get("reason", "")), str(found.get("message", ""))


def _version(layer: Stored | None) -> list[str]:
    """Returns what tells two versions of a layer apart; a change of status is none."""
    return [] if layer is None else [layer.name, layer.uid, settings.digest(layer.spec.decode())]


def _pod(found: ObservedPod, judged: Mapping[str, Judged]) -> Pod:
    known = judged.get(found.uid)
    return Pod(
        name=found.name,
        uid=found.uid,
        state=known.state if known else "left",  # one that has ended, or is on its way out, is judged no more
        withheld=known.withheld if known else "",
        created=datetime.datetime.fromisoformat(found.created) if found.created else _EPOCH,
        owner=found.owner,
        ready=found.is_ready,
        deleting=found.deleting,
        finished=found.finished,
        mirror=found.owner is None and _is_mirror(found),
    )


def _is_mirror(found: ObservedPod) -> bool:
    return _MIRROR in (found.manifest()["metadata"].get("annotations") or {})


def _event(target: WorkloadRef, action: Evict | RestartWorkload) -> Event:
    if isinstance(action, RestartWorkload):
        return Event("Normal", "Restarted", f"{target} was restarted: its pods have older restart settings")
    what = "has no sidecars" if action.pod.state == "bare" else "has older restart settings"
    return Event("Normal", "Evicted", f"pod {action.pod.name} {what} and was evicted; its replacement is injected")

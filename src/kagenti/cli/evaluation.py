"""One workload and what is held → the evaluation that the webhook would make of it; shared by inject and explain."""

import dataclasses
import datetime
from dataclasses import dataclass, field
from typing import Final

from kagenti.cli.catalogue import Holding
from kagenti.cli.setup import Setup
from kagenti.core import trigger
from kagenti.core.admission.evaluate import Context, Evaluation, evaluate
from kagenti.core.admission.pods import NOT_OURS
from kagenti.core.layers import LayerCache, Sources
from kagenti.core.reconcile.judge import Judged, judge
from kagenti.core.settings import Resolver
from kagenti.core.trigger import Coverage, OwnerProof
from kagenti.core.workload import TEMPLATE_PATHS, Subject
from kagenti_api.v1alpha1 import wellknown

# What the chart's entries cover with target workloads (spec 03); every pod is covered with target pods.
_TEMPLATES: Final = ("Deployment", "StatefulSet", "DaemonSet", "CronJob", "Job")


@dataclass(slots=True)
class Evaluator:
    """Evaluates workloads with one set of layers."""

    holding: Holding
    setup: Setup
    now: datetime.datetime
    layers: LayerCache = field(default_factory=LayerCache)
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        installation = self.setup.installation
        resolver = Resolver(cluster_domain=installation.cluster_domain, is_namespace=self.holding.is_namespace)
        by_workload = self.setup.target == "workloads"
        self.context = Context(self.setup.mode, installation, resolver, by_workload=by_workload)

    def seen(self, subject: Subject) -> Subject:
        """Returns a workload as the webhook sees it: under its top owner.

        With target pods, labels on the workload's own metadata are not there: its pods do not carry them.
        """
        labels = subject.labels_of_workload if self.setup.target == "workloads" else None
        return Subject(self.holding.top_of(subject), subject.template, subject.path, labels)

    def evaluate(self, subject: Subject) -> Evaluation:
        """Returns what the webhook would make of a workload, given as it stands in its own manifest."""
        seen = self.seen(subject)
        return evaluate(
            seen,
            sources=self._sources(seen),
            context=self.context,
            namespace_labels=self._labels(subject.namespace),
            now=self.now,
            coverage=self._coverage(subject),
            proof=_proof(seen),
        )

    def judge(self, pod: Subject) -> Judged:
        """Returns what one running pod is, as the operator judges it."""
        seen = self.seen(pod)
        return judge(
            seen,
            sources=self._sources(seen),
            context=self.context,
            namespace_labels=self._labels(pod.namespace),
            # With target workloads the webhook was called for the template, which stands in the owner.
            coverage=self._coverage(seen if self.setup.target == "workloads" else pod),
            now=self.now,
            proof=_proof(seen),
        )

    def _sources(self, seen: Subject) -> Sources:
        return self.layers.gather(
            cluster=self.holding.cluster_config(),
            namespace=self.holding.namespace_config(seen.namespace),
            runtimes=self.holding.runtimes_for(seen.owner),
        )

    def _coverage(self, subject: Subject) -> Coverage:
        kind, namespace = subject.owner.kind, subject.namespace
        if self.setup.target == "workloads" and (
            kind not in _TEMPLATES or subject.owner.group not in ("apps", "batch")
        ):
            why = f"with target workloads the webhook is called for {', '.join(_TEMPLATES)}, never for a {kind}"
            return Coverage(
                enrolled=False, excluded=NOT_OURS, why=f"{why}; ask about the workload that has the template"
            )
        installation = self.setup.installation
        found = trigger.coverage_of(
            namespace,
            labels=self._labels(namespace),
            selector=installation.namespace_selector,
            release_namespace=installation.release_namespace,
        )
        if namespace in self.holding.namespaces or found.excluded:
            return found
        return dataclasses.replace(found, enrolled=self.setup.enrolled)

    def _labels(self, namespace: str) -> dict[str, str]:
        """Returns the namespace's labels; of one that is not known, those that enrolment as asked for would give it."""
        known = self.holding.namespaces.get(namespace)
        if known is not None:
            return dict(known)
        return {wellknown.ENROLLED_LABEL: "true"} if self.setup.enrolled else {}


def _proof(seen: Subject) -> OwnerProof | None:
    """Returns that an owner cannot be proved where the webhook may not read its kind (decision 0007); others exist."""
    return None if (seen.owner.group, seen.owner.kind) in TEMPLATE_PATHS else "unknown"

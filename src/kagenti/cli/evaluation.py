"""One workload and what is held → the evaluation that the webhook would make of it."""

import datetime
from dataclasses import dataclass, field

from kagenti import __version__
from kagenti.cli.catalogue import Holding
from kagenti.core import trigger
from kagenti.core.admission.evaluate import Context, Evaluation, evaluate
from kagenti.core.installation import Installation
from kagenti.core.layers import LayerCache
from kagenti.core.settings import Resolver
from kagenti.core.trigger import Mode
from kagenti.core.workload import Subject
from kagenti_api.v1alpha1 import wellknown


@dataclass(slots=True)
class Evaluator:
    """Evaluates workloads with one set of layers."""

    holding: Holding
    mode: Mode
    enrolled: bool
    now: datetime.datetime
    installation: Installation = field(default_factory=lambda: Installation(version=__version__))
    layers: LayerCache = field(default_factory=LayerCache)

    def evaluate(self, subject: Subject) -> Evaluation:
        """Returns what the webhook would make of a subject."""
        labels = self._labels(subject.namespace)
        return evaluate(
            subject,
            sources=self.layers.gather(
                cluster=self.holding.cluster_config(),
                namespace=self.holding.namespace_config(subject.namespace),
                runtimes=self.holding.runtimes_for(subject.owner),
            ),
            context=Context(mode=self.mode, installation=self.installation, resolver=Resolver()),
            namespace_labels=labels,
            now=self.now,
            coverage=trigger.coverage_of(
                subject.namespace,
                labels=labels,
                selector=self.installation.namespace_selector,
                release_namespace=self.installation.release_namespace,
            ),
        )

    def _labels(self, namespace: str) -> dict[str, str]:
        """Returns the namespace's labels; in files without that namespace, enrolment as it was asked for."""
        known = self.holding.namespaces.get(namespace)
        if known is not None:
            return dict(known)
        return {wellknown.ENROLLED_LABEL: "true"} if self.enrolled else {}

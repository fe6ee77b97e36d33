"""What the operator counts, gathered from its parts when somebody scrapes; Prometheus families, bounded labels.

No pod, namespace or object is ever a label.
"""

import datetime
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti.core.reconcile.judge import State
from kagenti.histogram import Histogram
from kagenti.kube import FeedState
from kagenti.operator.pods import ObservedPod

_STATES: Final[tuple[State, ...]] = ("current", "stale", "bare", "optedOut", "foreign", "tampered", "left")
# Seconds; images that have to be pulled and registrations that have to wait take minutes.
_READY_BUCKETS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600)
_PROPAGATION_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300)


@dataclass(frozen=True, slots=True)
class Readings:
    """Where the numbers come from."""

    leading: Callable[[], bool]
    feeds: Callable[[], Mapping[str, FeedState]]
    pods: Callable[[], Mapping[str, int]]
    workloads: Callable[[], Mapping[tuple[str, str], int]]
    queue: Callable[[], int]
    outcomes: Callable[[], Mapping[str, int]]
    writes: Callable[[], Mapping[str, int]]
    events: Callable[[], Mapping[str, int]]
    owner_reads: Callable[[], int]
    disruptions: Callable[[], Mapping[tuple[str, str], int]]
    replacements: Callable[[], int]
    cards: Callable[[], Mapping[str, int]] = dict
    card_rounds: Callable[[], Mapping[str, int]] = dict
    cards_late: Callable[[], float] = float
    certificates: Callable[[], Mapping[tuple[str, str], float]] = dict
    certificate_steps: Callable[[], Mapping[tuple[str, str], int]] = dict
    certificate_failures: Callable[[], Mapping[str, int]] = dict


class Metrics:
    """The registry of one process."""

    def __init__(self, readings: Readings) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._ready, self._propagation = Histogram(_READY_BUCKETS), Histogram(_PROPAGATION_BUCKETS)
        self._registry.register(_Collector(readings, ready=self._ready, propagation=self._propagation))
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

    def pod_changed(self, old: ObservedPod | None, new: ObservedPod | None) -> None:
        """Notes the first time that an injected pod is seen to become Ready; those that came before us are not ours."""
        if old is None or new is None or not new.receipted or old.is_ready or not new.is_ready or old.uid != new.uid:
            return
        try:
            began, ended = (datetime.datetime.fromisoformat(text) for text in (new.created, new.ready_at))
        except ValueError:
            return
        self._ready.observe(max((ended - began).total_seconds(), 0.0))

    def propagated(self, seconds: float) -> None:
        """Notes how long a change took to reach every proxy."""
        self._propagation.observe(seconds)

    def render(self) -> bytes:
        """Returns everything in Prometheus text format."""
        return generate_latest(self._registry)


class _Collector(Collector):
    """Reads the parts at scrape time."""

    def __init__(self, readings: Readings, *, ready: Histogram, propagation: Histogram) -> None:
        self._readings, self._ready, self._propagation = readings, ready, propagation

    def collect(self) -> Iterable[Metric]:
        """Yields the families."""
        read = self._readings
        yield GaugeMetricFamily(
            "kagenti_operator_leading", "1 in the replica that holds the Lease.", value=float(read.leading())
        )
        yield GaugeMetricFamily("kagenti_operator_queue", "Objects that wait to be looked at.", value=read.queue())
        pods = read.pods()
        yield _gauge(
            "kagenti_pods",
            "Pods of agent workloads by state.",
            "state",
            {state: pods.get(state, 0) for state in _STATES},
        )
        yield self._workloads()
        for name, text, label, found in (
            ("kagenti_operator_reconciles", "Looks at objects by outcome.", "outcome", read.outcomes()),
            ("kagenti_operator_status_writes", "Writes of status by kind of write.", "what", read.writes()),
            ("kagenti_operator_events", "Events by outcome.", "outcome", read.events()),
            (
                "kagenti_operator_card_rounds",
                "Looks at AgentCards by what Synced says then.",
                "reason",
                read.card_rounds(),
            ),
        ):
            family = CounterMetricFamily(name, text, labels=[label])
            for value, number in sorted(found.items()):
                family.add_metric([value], number)
            yield family
        yield self._disruptions()
        yield GaugeMetricFamily(
            "kagenti_operator_replacements", "Workloads that have a pod in replacement.", value=read.replacements()
        )
        yield CounterMetricFamily("kagenti_operator_owner_reads", "Reads of owners of pods.", value=read.owner_reads())
        yield _gauge("kagenti_agentcards", "AgentCards by the reason of Synced.", "reason", read.cards())
        yield GaugeMetricFamily(
            "kagenti_operator_cards_late_seconds", "By how much the last fetch began late.", value=read.cards_late()
        )
        yield _histogram(
            "kagenti_pod_ready_seconds", "From the creation of an injected pod to its being Ready.", self._ready
        )
        yield _histogram(
            "kagenti_propagation_seconds",
            "From a change of an AgentRuntime's live revision to its acknowledgement by every proxy, as status shows it.",
            self._propagation,
        )
        yield from self._certificates()
        yield from self._feeds()

    def _certificates(self) -> Iterable[Metric]:
        left = GaugeMetricFamily(
            "kagenti_operator_certificate_seconds_left",
            "Until a certificate expires that this replica, leading, manages; absent: it manages none.",
            labels=["of", "certificate"],
        )
        for labels, seconds in sorted(self._readings.certificates().items()):
            left.add_metric(labels, seconds)
        yield left
        steps = CounterMetricFamily(
            "kagenti_operator_certificate_steps", "Certificates made and CAs changed.", labels=["of", "step"]
        )
        for labels, number in sorted(self._readings.certificate_steps().items()):
            steps.add_metric(labels, number)
        yield steps
        failures = CounterMetricFamily(
            "kagenti_operator_certificate_failures", "Looks after certificates that failed.", labels=["of"]
        )
        for of, number in sorted(self._readings.certificate_failures().items()):
            failures.add_metric([of], number)
        yield failures

    def _disruptions(self) -> Metric:
        family = CounterMetricFamily(
            "kagenti_operator_disruptions",
            "Evictions and restarts that were asked for, by answer of the API server.",
            labels=["deed", "answer"],
        )
        for (deed, answer), number in sorted(self._readings.disruptions().items()):
            family.add_metric([deed, answer], number)
        return family

    def _workloads(self) -> Metric:
        family = GaugeMetricFamily(
            "kagenti_workloads",
            "Workloads by trigger, with or without AgentRuntime.",
            labels=["trigger", "agentruntime"],
        )
        for (trigger, with_runtime), number in sorted(self._readings.workloads().items()):
            family.add_metric([trigger, with_runtime], number)
        return family

    def _feeds(self) -> Iterable[Metric]:
        feeds = self._readings.feeds()
        yield _gauge(
            "kagenti_operator_cache_objects",
            "Objects in a cache.",
            "resource",
            {k: v.objects for k, v in feeds.items()},
        )
        ages = {resource: state.age for resource, state in feeds.items() if state.age is not None}
        yield _gauge(
            "kagenti_operator_cache_age_seconds", "Seconds since the last event or bookmark.", "resource", ages
        )
        family = CounterMetricFamily("kagenti_operator_relists", "Full lists after the first.", labels=["resource"])
        for resource, state in feeds.items():
            family.add_metric([resource], state.relists)
        yield family


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _histogram(name: str, text: str, found: Histogram) -> Metric:
    return HistogramMetricFamily(name, text, buckets=found.buckets(), sum_value=found.total)

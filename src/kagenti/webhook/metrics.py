"""What the webhook counts, as plain numbers on the hot path and as Prometheus families when somebody scrapes.

Labels are bounded: entries are ours, reasons are core's codes, resources are our kinds. No object is ever a label.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti.histogram import Histogram
from kagenti.kube import FeedState

# Seconds. A decision from memory takes 0.1–0.3 ms, one with a strict read 1–6 ms; the API server gives up at 5 s.
BUCKETS: Final = (
    0.0001, 0.0002, 0.0003, 0.0005, 0.00075,
    0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
)  # fmt: skip
# More than core has reason codes; a defect there must not become an unbounded label here.
MOST_REASONS: Final = 128
OTHER_REASON: Final = "Other"


class Metrics:
    """The counters of one process; written by handlers and reflectors, read by ``render``."""

    def __init__(
        self,
        *,
        feeds: Callable[[], Mapping[str, FeedState]],
        reads: Callable[[], Mapping[str, int]],
        certificate: Callable[[], tuple[float, int, int]],
        break_glass: Callable[[], int] = lambda: 0,
    ) -> None:
        """Takes the readers of what others count; ``ready`` and ``trusted`` are set by the process that is scraped.

        Args:
            feeds: State of each cache, by plural resource.
            reads: API calls made for decisions, by kind of call: strict, owner, target, pods.
            certificate: Seconds left, reloads, failed reloads.
            break_glass: Namespaces that carry the break-glass label.
        """
        self.ready: Callable[[], bool] = lambda: False
        self.trusted: Callable[[], bool] = lambda: True
        self.in_flight = 0
        self.crashes: Counter[str] = Counter()
        self.refused: Counter[int] = Counter()
        self._decisions: Counter[tuple[str, str, bool]] = Counter()
        self._latency: dict[str, Histogram] = {}
        self._feeds = feeds
        self._reads = reads
        self._certificate = certificate
        self._break_glass = break_glass
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(self))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def decided(self, entry: str, *, reason: str, allowed: bool, seconds: float) -> None:
        """Counts one answer and how long it took."""
        key = (entry, reason, allowed)
        if key not in self._decisions and len(self._decisions) >= MOST_REASONS:
            key = (entry, OTHER_REASON, allowed)
        self._decisions[key] += 1
        latency = self._latency.get(entry)
        if latency is None:
            latency = self._latency[entry] = Histogram(BUCKETS)
        latency.observe(seconds)

    def render(self) -> bytes:
        """Returns everything in Prometheus text format."""
        return generate_latest(self._registry)

    def families(self) -> Iterable[Metric]:
        """Yields one family per name, sorted series within."""
        yield from self._decision_families()
        yield from self._fault_families()
        yield from self._cache_families()
        yield from self._certificate_families()
        yield GaugeMetricFamily("kagenti_webhook_ready", "1 while reviews may come.", value=float(self.ready()))
        yield GaugeMetricFamily(
            "kagenti_webhook_break_glass_namespaces",
            "Namespaces that no entry covers because of their label.",
            value=self._break_glass(),
        )

    def _decision_families(self) -> Iterable[Metric]:
        decisions = CounterMetricFamily(
            "kagenti_webhook_decisions", "Answers given.", labels=("entry", "reason", "allowed")
        )
        for (entry, reason, allowed), count in sorted(self._decisions.items()):
            decisions.add_metric((entry, reason, str(allowed).lower()), count)
        yield decisions
        latency = HistogramMetricFamily(
            "kagenti_webhook_seconds", "From the end of the request's headers to its answer.", labels=("entry",)
        )
        for entry, histogram in sorted(self._latency.items()):
            latency.add_metric((entry,), buckets=histogram.buckets(), sum_value=histogram.total)
        yield latency
        yield GaugeMetricFamily("kagenti_webhook_in_flight", "Reviews being decided now.", value=self.in_flight)

    def _fault_families(self) -> Iterable[Metric]:
        crashes = CounterMetricFamily(
            "kagenti_webhook_crashes", "Answers that are our own defect (code 500).", labels=("entry",)
        )
        for entry, count in sorted(self.crashes.items()):
            crashes.add_metric((entry,), count)
        yield crashes
        refused = CounterMetricFamily(
            "kagenti_webhook_refused_requests", "Requests that are no review, by HTTP status.", labels=("status",)
        )
        for status, count in sorted(self.refused.items()):
            refused.add_metric((str(status),), count)
        yield refused

    def _cache_families(self) -> Iterable[Metric]:
        objects = GaugeMetricFamily("kagenti_webhook_cache_objects", "Objects in the cache.", labels=("resource",))
        age = GaugeMetricFamily(
            "kagenti_webhook_cache_age_seconds",
            "Since the API server was last heard; absent: never.",
            labels=("resource",),
        )
        relists = CounterMetricFamily(
            "kagenti_webhook_cache_relists", "Full lists begun after the first, failed ones too.", labels=("resource",)
        )
        for resource, state in sorted(self._feeds().items()):
            objects.add_metric((resource,), state.objects)
            relists.add_metric((resource,), state.relists)
            if state.age is not None:
                age.add_metric((resource,), state.age)
        yield objects
        yield age
        yield relists
        reads = CounterMetricFamily(
            "kagenti_webhook_api_reads", "API calls made in order to decide, by kind of call.", labels=("call",)
        )
        for call, count in sorted(self._reads().items()):
            reads.add_metric((call,), count)
        yield reads

    def _certificate_families(self) -> Iterable[Metric]:
        seconds_left, reloads, failures = self._certificate()
        yield GaugeMetricFamily(
            "kagenti_webhook_trusted",
            "1 while our own port, asked as the API server asks, verifies against the live caBundle.",
            value=float(self.trusted()),
        )
        yield GaugeMetricFamily(
            "kagenti_webhook_certificate_seconds_left", "Until the served certificate expires.", value=seconds_left
        )
        yield CounterMetricFamily("kagenti_webhook_certificate_reloads", "Pairs swapped in.", value=reloads)
        yield CounterMetricFamily(
            "kagenti_webhook_certificate_reload_failures", "Changed pairs that could not be used.", value=failures
        )


class _Collector(Collector):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families()

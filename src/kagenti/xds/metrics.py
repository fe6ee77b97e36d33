"""What the xDS process counts, gathered from its parts when somebody scrapes; Prometheus families, bounded labels.

No pod, namespace or URL is ever a label. ``kagenti_xds_key_sets{state="stale"}`` above zero for long is the alert on
identity providers that do not answer (spec 05).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from kagenti.kube import FeedState
from kagenti.xds.observers import Stopwatch

Counts = Callable[[], Mapping[str, float]]
"""Reads numbers by label value."""


@dataclass(frozen=True, slots=True)
class Table:
    """One family whose series differ by one label."""

    name: str
    help: str
    label: str
    read: Counts
    counter: bool = False


@dataclass(frozen=True, slots=True)
class Readings:
    """Where the numbers come from: ``tables`` of the parts, caches, certificate (seconds left, reloads, failures)."""

    tables: tuple[Table, ...]
    feeds: Callable[[], Mapping[str, FeedState]]
    certificate: Callable[[], tuple[float, int, int]]
    stopwatch: Stopwatch
    build_seconds: Callable[[], float]


class Metrics:
    """The registry of one process."""

    def __init__(self, readings: Readings) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(readings))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self) -> bytes:
        """Returns everything in Prometheus text format."""
        return generate_latest(self._registry)


class _Collector(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        for table in self._readings.tables:
            yield _family(table)
        yield from _push_families(self._readings.stopwatch)
        yield CounterMetricFamily(
            "kagenti_xds_build_seconds", "Spent on building snapshots.", value=self._readings.build_seconds()
        )
        yield from _cache_families(self._readings.feeds())
        yield from _certificate_families(*self._readings.certificate())


def _family(table: Table) -> Metric:
    kind = CounterMetricFamily if table.counter else GaugeMetricFamily
    family = kind(table.name, table.help, labels=(table.label,))
    for value, number in sorted(table.read().items()):
        family.add_metric((value,), number)
    return family


def _push_families(stopwatch: Stopwatch) -> Iterable[Metric]:
    latency = HistogramMetricFamily(
        "kagenti_xds_acknowledge_seconds", "From the first push of a snapshot to its acknowledgement by one Envoy."
    )
    latency.add_metric((), buckets=stopwatch.seconds.buckets(), sum_value=stopwatch.seconds.total)
    yield latency


def _cache_families(feeds: Mapping[str, FeedState]) -> Iterable[Metric]:
    objects = GaugeMetricFamily("kagenti_xds_cache_objects", "Objects in the cache.", labels=("resource",))
    age = GaugeMetricFamily(
        "kagenti_xds_cache_age_seconds", "Since the API server was last heard; absent: never.", labels=("resource",)
    )
    relists = CounterMetricFamily(
        "kagenti_xds_cache_relists", "Full lists begun after the first, failed ones too.", labels=("resource",)
    )
    for resource, state in sorted(feeds.items()):
        objects.add_metric((resource,), state.objects)
        relists.add_metric((resource,), state.relists)
        if state.age is not None:
            age.add_metric((resource,), state.age)
    yield from (objects, age, relists)


def _certificate_families(seconds_left: float, reloads: int, failures: int) -> Iterable[Metric]:
    yield GaugeMetricFamily(
        "kagenti_xds_certificate_seconds_left", "Until the served certificate expires.", value=seconds_left
    )
    yield CounterMetricFamily("kagenti_xds_certificate_reloads", "Pairs swapped in.", value=reloads)
    yield CounterMetricFamily(
        "kagenti_xds_certificate_reload_failures", "Changed pairs that could not be used.", value=failures
    )

"""What a scrape shows: every figure of the spec, bounded labels, cumulative buckets."""

from kagenti.histogram import Histogram
from kagenti.kube import FeedState
from kagenti.webhook.metrics import BUCKETS, MOST_REASONS, Metrics


def _metrics() -> Metrics:
    return Metrics(
        feeds=lambda: {
            "agentruntimes": FeedState(objects=3, age=1.5, relists=2),
            "namespaces": FeedState(objects=0, age=None, relists=0),
        },
        reads=lambda: {"strict": 7, "owner": 1},
        certificate=lambda: (86400.0, 1, 2),
        break_glass=lambda: 3,
    )


def _lines(metrics: Metrics) -> list[str]:
    return [line for line in metrics.render().decode().splitlines() if line.startswith("kagenti_")]


def test_every_figure_is_there() -> None:
    """Decisions by entry and reason, latency, caches, reads, certificate, faults."""
    metrics = _metrics()
    metrics.decided("pods", reason="Label", allowed=True, seconds=0.0004)
    metrics.crashes["pods"] += 1
    metrics.refused[413] += 1
    metrics.in_flight = 4
    metrics.ready = lambda: True
    lines = _lines(metrics)
    expected = {
        'kagenti_webhook_decisions_total{allowed="true",entry="pods",reason="Label"} 1.0',
        'kagenti_webhook_seconds_count{entry="pods"} 1.0',
        'kagenti_webhook_seconds_bucket{entry="pods",le="0.0003"} 0.0',
        'kagenti_webhook_seconds_bucket{entry="pods",le="0.0005"} 1.0',
        "kagenti_webhook_in_flight 4.0",
        'kagenti_webhook_crashes_total{entry="pods"} 1.0',
        'kagenti_webhook_refused_requests_total{status="413"} 1.0',
        'kagenti_webhook_cache_objects{resource="agentruntimes"} 3.0',
        'kagenti_webhook_cache_age_seconds{resource="agentruntimes"} 1.5',
        'kagenti_webhook_cache_relists_total{resource="agentruntimes"} 2.0',
        'kagenti_webhook_api_reads_total{call="strict"} 7.0',
        'kagenti_webhook_api_reads_total{call="owner"} 1.0',
        "kagenti_webhook_ready 1.0",
        "kagenti_webhook_break_glass_namespaces 3.0",
        "kagenti_webhook_certificate_seconds_left 86400.0",
        "kagenti_webhook_certificate_reloads_total 1.0",
        "kagenti_webhook_certificate_reload_failures_total 2.0",
    }
    assert expected <= set(lines)


def test_cache_never_heard_has_no_age() -> None:
    """An absent series, not a zero that looks fresh."""
    assert not [line for line in _lines(_metrics()) if "cache_age" in line and "namespaces" in line]


def test_reasons_stay_bounded() -> None:
    """A defect that invents reasons ends in one series, not in a thousand."""
    metrics = _metrics()
    for number in range(MOST_REASONS * 2):
        metrics.decided("pods", reason=f"Invented{number}", allowed=True, seconds=0.001)
    series = [line for line in _lines(metrics) if line.startswith("kagenti_webhook_decisions_total")]
    assert len(series) == MOST_REASONS + 1
    assert f'kagenti_webhook_decisions_total{{allowed="true",entry="pods",reason="Other"}} {MOST_REASONS}.0' in series


def test_latency_is_cumulative() -> None:
    """Buckets count everything at or below their bound."""
    latency = Histogram(BUCKETS)
    for seconds in (0.0001, 0.00011, 4.0, 9.0):
        latency.observe(seconds)
    rows = dict(latency.buckets())
    assert (rows["0.0001"], rows["0.0002"], rows["2.5"], rows["5.0"], rows["+Inf"]) == (1, 2, 2, 3, 4)

"""Alerts and dashboard: each speaks of figures that our processes expose, and says what to do."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
import typer.main

from kagenti.cli import app
from kagenti.core.ads.discovery import Verdict
from kagenti.core.trigger.reasons import MEANINGS
from kagenti.kube import KubeClient
from kagenti.kube.connection import Connection
from kagenti.operator import metrics as operator
from kagenti.webhook.metrics import Metrics
from kagenti.xds.config import XdsConfig
from kagenti.xds.fetch import Fetched
from kagenti.xds.parts import Caches, Parts
from tests.documents import documents
from tests.unit.webhook.conftest import make_authority

FOLDER = Path(__file__).resolve().parents[2] / "charts" / "kagenti" / "monitoring"
[ALERTS] = documents((FOLDER / "alerts.yaml").read_text())
DASHBOARD = orjson.loads((FOLDER / "dashboard.json").read_bytes())
RULES: list[Any] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
ASKED = [*(rule["expr"] for rule in RULES), *QUERIES]
SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("",), "gauge": ("",)}
# Values of labels that a scrape of an idle process does not show yet.
VALUES = {
    "reason": set(MEANINGS),
    "verdict": set(get_args(Verdict)),
    "entry": {"pods", "workloads", "validate", "advise"},  # webhook/reviews.py
    "event": {"opened", "closed", "refused", "rejected"},  # xds/observers.py
    "allowed": {"true", "false"},
    "outcome": {"failed", "defect"},  # operator/reconciler.py
    "certificate": {"ca", "leaf"},  # operator/certificates/keeper.py
}


def webhook_page() -> str:
    """What a webhook shows."""
    return Metrics(feeds=dict, reads=dict, certificate=lambda: (0.0, 0, 0)).render().decode()


def xds_page(folder: Path) -> str:
    """What an xDS server shows that has just been wired."""
    certificate, key = make_authority().issue().write(folder)

    async def fetch(*_: object) -> Fetched:
        raise AssertionError("nothing is fetched at a scrape")

    client = KubeClient(Connection("http://127.0.0.1:1", None), user_agent="test")
    logger = logging.Logger("test")
    config = XdsConfig(certificate, key, replica="xds-1")
    return Parts(config, client, Caches(client, logger), fetch=fetch, logger=logger).metrics().render().decode()


def operator_page() -> str:
    """What an operator shows."""
    readings = operator.Readings(
        leading=lambda: False, feeds=dict, pods=dict, workloads=dict, queue=lambda: 0, outcomes=dict, writes=dict,
        events=dict, owner_reads=lambda: 0, disruptions=dict, replacements=lambda: 0,
    )  # fmt: skip
    return operator.Metrics(readings).render().decode()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What all processes show, one after the other."""
    return webhook_page() + operator_page() + xds_page(tmp_path_factory.mktemp("tls"))


def exposed(pages: str) -> set[str]:
    """Returns the names of series; a family without series yet has its line of type."""
    return {
        name + suffix
        for name, kind in re.findall(r"^# TYPE (\S+) (counter|gauge|histogram)$", pages, flags=re.MULTILINE)
        for suffix in SUFFIXES[kind]
    }


def metrics_of(query: str) -> set[str]:
    """Returns the names of metrics in a query."""
    return set(re.findall(r"\b(?:kagenti|process)_[a-z_]+", query))


def test_every_metric_is_exposed(pages: str) -> None:
    """An alert on a name that nobody exposes never fires, and a graph of it stays empty."""
    assert [query for query in ASKED if not metrics_of(query)] == [], "queries about nothing of ours"
    assert {name for query in ASKED for name in metrics_of(query)} - exposed(pages) == set()


def test_every_figure_of_ours_is_used_or_left_out_on_purpose(pages: str) -> None:
    """A dashboard is a choice; what it leaves out is listed, so that a new figure is thought about."""
    used = {name for query in ASKED for name in metrics_of(query)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed(pages) if name.startswith("kagenti_")}
    unused = families - {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}
    assert unused == {
        "kagenti_operator_cache_objects",
        "kagenti_operator_card_rounds_total",
        "kagenti_operator_cards_late_seconds",
        "kagenti_operator_certificate_steps_total",
        "kagenti_operator_events_total",
        "kagenti_operator_owner_reads_total",
        "kagenti_operator_relists_total",
        "kagenti_operator_status_writes_total",
        "kagenti_webhook_cache_objects",
        "kagenti_webhook_cache_relists_total",
        "kagenti_webhook_certificate_reloads_total",
        "kagenti_webhook_refused_requests_total",
        "kagenti_xds_api_reads_total",
        "kagenti_xds_builds_total",
        "kagenti_xds_cache_objects",
        "kagenti_xds_cache_relists_total",
        "kagenti_xds_certificate_reloads_total",
        "kagenti_xds_key_fetches_total",
        "kagenti_xds_pods",
        "kagenti_xds_resources_total",
    }


def selected(query: str) -> Iterator[tuple[str, str, str]]:
    """Yields metric, label and each value that a matcher asks for."""
    for metric, matchers in re.findall(r"\b(\w+)\{([^}]*)\}", query):
        for label, values in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            for value in values.split("|"):
                yield metric, label, value


def test_every_label_value_can_occur(pages: str) -> None:
    """By the page itself, or by the code that counts."""
    for metric, label, value in (found for query in ASKED for found in selected(query)):
        shown = f'{metric}{{{label}="{value}"}}' in pages
        assert shown or value in VALUES.get(label, ()), (metric, label, value)


def test_counters_are_read_as_rates_and_gauges_as_they_are() -> None:
    """Balanced, and rate() stands around every counter and bucket, around nothing else."""
    for query in ASKED:
        assert query.count("(") == query.count(")"), query
        read = set(re.findall(r"(?:rate|increase)\((\w+)", query))
        counters = {name for name in metrics_of(query) if name.endswith(("_total", "_bucket"))}
        assert read == counters - {"kagenti_xds_build_seconds_total"}, query


def test_an_alert_says_what_is_the_matter_and_what_to_do() -> None:
    """On the page itself, without a link to elsewhere."""
    for rule in RULES:
        alert, said = rule["alert"], rule["annotations"]
        assert rule["labels"]["severity"] in ("critical", "warning"), alert
        assert set(said) == {"summary", "description"}, alert
        assert len(said["description"]) > 80, alert
        assert re.search(r"\b(look|ask|find|correct|undo|mend|take|remove|GET|the log)\b", said["description"], re.I), (
            alert
        )


def test_an_alert_names_only_commands_that_exist() -> None:
    """Somebody types them at night."""
    known = set(typer.main.get_command(app).commands)
    named = {name for rule in RULES for name in re.findall(r"`kagenti (\w+)", rule["annotations"]["description"])}
    assert named <= known


def test_what_people_on_call_must_hear_of_has_an_alert() -> None:
    """The list of the runbook."""
    assert {rule["alert"] for rule in RULES} >= {
        "KagentiWebhookAbsent", "KagentiWebhookNotReady", "KagentiDeniedNotReady", "KagentiDeniedConfigInvalid",
        "KagentiCertificateNearExpiry", "KagentiConfigurationRejected", "KagentiWatchSilent", "KagentiBreakGlassSet",
        "KagentiPropagationSlow",
    }  # fmt: skip


def test_panels_neither_overlap_nor_leave_the_grid() -> None:
    """24 columns (Grafana), each cell at most once."""
    cells: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert cells.isdisjoint(own), panel["title"]
        assert max(x for x, _ in own) < 24
        cells |= own

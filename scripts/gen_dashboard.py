"""Writes charts/kagenti/monitoring/dashboard.json from the panels below; ``--check`` writes nothing and fails on drift.

Schema: Grafana's dashboard model, version 39 (Grafana 11); fields that Grafana fills in by itself are left out.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).resolve().parent.parent / "charts" / "kagenti" / "monitoring" / "dashboard.json"
JSON = Any  # Grafana's model
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT, COLUMNS = 8, 7, 3


@dataclass(frozen=True)
class Panel:
    """One graph: queries by legend, and the unit of the axis (Grafana's name of it)."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"


def quantile(share: float, histogram: str, *, by: str = "le") -> str:
    """Returns the query for a quantile of a histogram."""
    return f"histogram_quantile({share}, sum by ({by}) (rate({histogram}_bucket[$__rate_interval])))"


def rate(counter: str, by: str) -> str:
    """Returns the query for a counter's rate by one label."""
    return f"sum by ({by}) (rate({counter}[$__rate_interval]))"


EVERY_PROCESS: Final = "kagenti_webhook_in_flight or kagenti_xds_build_seconds_total or kagenti_operator_queue"

ROWS: Final[dict[str, list[Panel]]] = {
    "Admission": [
        Panel("Ready replicas", "Zero: triggered pods wait.", {"ready": "sum(kagenti_webhook_ready)"}),
        Panel(
            "Decisions by reason",
            "What became of pods and writes of our kinds, per second.",
            {"{{entry}} {{reason}}": rate("kagenti_webhook_decisions_total", "entry, reason")},
            "reqps",
        ),
        Panel(
            "Denied",
            "NotReady: the cluster cannot be read. ConfigInvalid: a layer is to be mended.",
            {"{{reason}}": rate('kagenti_webhook_decisions_total{allowed="false"}', "reason")},
            "reqps",
        ),
        Panel(
            "Time to decide",
            "The API server gives up after 5 s.",
            {
                "median {{entry}}": quantile(0.5, "kagenti_webhook_seconds", by="entry, le"),
                "p99 {{entry}}": quantile(0.99, "kagenti_webhook_seconds", by="entry, le"),
            },
            "s",
        ),
        Panel(
            "API calls made in order to decide",
            "strict: index misses that were asked about.",
            {"{{call}}": rate("kagenti_webhook_api_reads_total", "call")},
            "reqps",
        ),
        Panel(
            "In flight, crashes, break-glass",
            "Crashes are our own defects.",
            {
                "in flight": "sum(kagenti_webhook_in_flight)",
                "crashes {{entry}}": rate("kagenti_webhook_crashes_total", "entry"),
                "namespaces under break-glass": "max(kagenti_webhook_break_glass_namespaces)",
            },
        ),
    ],
    "Configuration of running proxies": [
        Panel("Proxies by verdict", "rejected: Envoy refused.", {"{{verdict}}": "sum by (verdict) (kagenti_xds_proxies)"}),
        Panel(
            "From push to acknowledgement",
            "One Envoy, one snapshot.",
            {
                "median": quantile(0.5, "kagenti_xds_acknowledge_seconds"),
                "p99": quantile(0.99, "kagenti_xds_acknowledge_seconds"),
            },
            "s",
        ),
        Panel("Streams", "By event.", {"{{event}}": rate("kagenti_xds_streams_total", "event")}, "ops"),
        Panel(
            "Snapshots", "kept: layers invalid, older policy.", {"{{state}}": "sum by (state) (kagenti_xds_snapshots)"}
        ),
        Panel(
            "Keys of identity providers", "By state.", {"{{state}}": "max by (state) (kagenti_xds_key_sets)"}
        ),
        Panel("Status writes", "By outcome.", {"{{outcome}}": rate("kagenti_xds_status_writes_total", "outcome")}, "ops"),
    ],
    "Fleet, as the operator sees it": [
        Panel("Pods by state", "bare: should have sidecars, has none.", {"{{state}}": "max by (state) (kagenti_pods)"}),
        Panel("Workloads by trigger", "With or without AgentRuntime.",
              {"{{trigger}}, AgentRuntime {{agentruntime}}": "max by (trigger, agentruntime) (kagenti_workloads)"}),
        Panel("Injected pods: from creation to Ready", "Images, registration, first configuration.",
              {"median": quantile(0.5, "kagenti_pod_ready_seconds"), "p99": quantile(0.99, "kagenti_pod_ready_seconds")}, "s"),
        Panel("From a change to every proxy", "As status shows it.",
              {"median": quantile(0.5, "kagenti_propagation_seconds"), "p99": quantile(0.99, "kagenti_propagation_seconds")}, "s"),
        Panel("Leading replica, queue", "One leads.",
              {"leading": "sum(kagenti_operator_leading)", "queue": "max(kagenti_operator_queue)"}),
        Panel("Looks at objects", "By outcome.", {"{{outcome}}": rate("kagenti_operator_reconciles_total", "outcome")}, "ops"),
        Panel("Evictions and restarts", "By answer of the API server; workloads that have a pod in replacement.",
              {"{{deed}}: {{answer}}": rate("kagenti_operator_disruptions_total", "deed, answer"),
               "in replacement": "max(kagenti_operator_replacements)"}),
        Panel("Agent cards", "By the reason of Synced.", {"{{reason}}": "max by (reason) (kagenti_agentcards)"}),
    ],
    "Processes": [
        Panel(
            "Certificates: time left",
            "Renewed at two thirds of life.",
            {
                "webhook": "min(kagenti_webhook_certificate_seconds_left)",
                "xds": "min(kagenti_xds_certificate_seconds_left)",
                "CA of {{of}}": 'min by (of) (kagenti_operator_certificate_seconds_left{certificate="ca"})',
            },
            "s",
        ),
        Panel(
            "Since the API server was last heard",
            "Bookmarks come every minute.",
            {
                "webhook {{resource}}": "max by (resource) (kagenti_webhook_cache_age_seconds)",
                "xds {{resource}}": "max by (resource) (kagenti_xds_cache_age_seconds)",
                "operator {{resource}}": "max by (resource) (kagenti_operator_cache_age_seconds)",
            },
            "s",
        ),
        Panel(
            "Memory",
            "Resident, by pod.",
            {"{{pod}}": f"process_resident_memory_bytes and on (pod) ({EVERY_PROCESS})"},
            "bytes",
        ),
    ],
}  # fmt: skip


def dashboard() -> JSON:
    """Returns Grafana's model: rows of three panels, one data source that the viewer chooses."""
    panels: list[JSON] = []
    y = 0
    for row, members in ROWS.items():
        panels.append({"type": "row", "title": row, "collapsed": False, "id": len(panels) + 1, "panels": [],
                       "gridPos": {"x": 0, "y": y, "w": WIDTH * COLUMNS, "h": 1}})  # fmt: skip
        for index, panel in enumerate(members):
            place = {"x": index % COLUMNS * WIDTH, "y": y + 1 + index // COLUMNS * HEIGHT, "w": WIDTH, "h": HEIGHT}
            panels.append(_graph(panel, number=len(panels) + 1, place=place))
        y += 1 + -(-len(members) // COLUMNS) * HEIGHT
    variable = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": "kagenti",
        "title": "kagenti",
        "tags": ["kagenti"],
        "schemaVersion": 39,
        "editable": True,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [variable]},
        "panels": panels,
    }


def _graph(panel: Panel, *, number: int, place: JSON) -> JSON:
    return {
        "id": number,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def main() -> int:
    """Writes or checks the file; returns 1 on drift."""
    text = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    if TARGET.exists() and TARGET.read_text() == text:
        return 0
    if "--check" in sys.argv[1:]:
        print(
            "gen_dashboard: charts/kagenti/monitoring/dashboard.json has drifted; run make crds and commit the result"
        )
        return 1
    TARGET.write_text(text)
    print("gen_dashboard: wrote charts/kagenti/monitoring/dashboard.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())

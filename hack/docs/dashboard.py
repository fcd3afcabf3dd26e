"""Write manifests/monitoring/dashboard.json, for Grafana: `python hack/docs/dashboard.py [--check]`."""

import json
import sys
from dataclasses import dataclass
from typing import Any, Final

from hack.generated import ROOT, write_or_check

TARGET: Final = ROOT / "manifests" / "monitoring" / "dashboard.json"
SCHEMA_VERSION: Final = 39
"""Of Grafana 10 and later."""
WIDTH: Final = 24
HEIGHT: Final = 7
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram."""

    title: str
    unit: str
    """Grafana's name of the unit."""
    series: tuple[tuple[str, str], ...]
    """Query and legend of each."""
    is_stacked: bool = False


def quantiles(histogram: str, by: str = "") -> tuple[tuple[str, str], ...]:
    """Return the series of a histogram's median and 99th percentile."""
    group = f"le, {by}" if by else "le"
    legend = f" {{{{{by}}}}}" if by else ""
    return tuple(
        (
            f"histogram_quantile({share}, sum by ({group}) (rate({histogram}_bucket[$__rate_interval])))",
            f"{name}{legend}",
        )
        for share, name in ((0.5, "p50"), (0.99, "p99"))
    )


def rate(counter: str, by: str = "") -> tuple[tuple[str, str], ...]:
    """Return the series of how fast a counter rises."""
    grouped = f"sum by ({by}) " if by else "sum "
    return ((f"{grouped}(rate({counter}[$__rate_interval]))", f"{{{{{by}}}}}" if by else "per second"),)


ROWS: Final[dict[str, tuple[Panel, ...]]] = {
    "Sessions": (
        Panel(
            "Sessions by phase", "short", (("sum by (phase) (agentsession_sessions)", "{{phase}}"),), is_stacked=True
        ),
        Panel("Phases entered", "ops", rate("agentsession_transitions_total", "phase")),
        Panel(
            "Sessions that need somebody",
            "short",
            (('sum by (phase) (agentsession_sessions{phase=~"Waiting|Paused|Failed"})', "{{phase}}"),),
        ),
    ),
    "Models": (
        Panel("Calls", "ops", rate("agentsession_model_calls_total", "outcome"), is_stacked=True),
        Panel("Time at the provider", "s", quantiles("agentsession_model_call_seconds")),
        Panel("Failures", "ops", rate("agentsession_model_call_failures_total", "code")),
        Panel("Tokens", "short", rate("agentsession_model_tokens_total", "direction")),
        Panel("Cost of an hour", "currencyUSD", (("sum (increase(agentsession_model_cost_usd_total[1h]))", "cost"),)),
        Panel("Calls under way", "short", (("sum (agentsession_model_calls_under_way)", "calls"),)),
    ),
    "Gateway": (
        Panel("Requests", "reqps", rate("agentsession_gateway_requests_total", "status"), is_stacked=True),
        Panel("Time to the first byte", "s", quantiles("agentsession_gateway_request_seconds")),
        Panel("Open streams", "short", (("sum by (stream) (agentsession_gateway_open_streams)", "{{stream}}"),)),
        Panel("Questions to the API server", "ops", rate("agentsession_gateway_reviews_total", "result")),
    ),
    "Journal": (
        Panel("Jobs", "ops", rate("agentsession_journal_jobs_total", "result")),
        Panel("Time of a transaction", "s", quantiles("agentsession_journal_commit_seconds")),
        Panel("Jobs that wait", "short", (("sum (agentsession_journal_queued_jobs)", "jobs"),)),
    ),
    "Operator": (
        Panel("Passes", "ops", rate("agentsession_passes_total", "result"), is_stacked=True),
        Panel("Time of a pass", "s", quantiles("agentsession_pass_seconds")),
        Panel(
            "Queue",
            "s",
            (
                ("max (agentsession_queue_oldest_seconds)", "oldest key"),
                ("max (agentsession_watch_age_seconds)", "watch"),
            ),
        ),
        Panel("Objects written", "ops", rate("agentsession_writes_total", "object")),
        Panel(
            "Leading, and in touch with the gateway",
            "short",
            (("sum (agentsession_operator_leading)", "leading"), ("max (agentsession_gateway_reachable)", "in touch")),
        ),
    ),
}


def render() -> str:
    """Return the dashboard."""
    panels: list[dict[str, Any]] = []
    y = 0
    for title, row in ROWS.items():
        panels.append({"type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}})
        y += 1
        for place, panel in enumerate(row):
            width = WIDTH // 3
            spot = {"x": place % 3 * width, "y": y + place // 3 * HEIGHT, "w": width, "h": HEIGHT}
            panels.append(_panel(panel, spot))
        y += -(-len(row) // 3) * HEIGHT
    for number, panel in enumerate(panels, 1):
        panel["id"] = number
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    dashboard = {
        "uid": "agentsessions",
        "title": "agentsessions",
        "tags": ["agentsessions"],
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }
    return json.dumps(dashboard, indent=1) + "\n"


def _panel(panel: Panel, spot: dict[str, int]) -> dict[str, Any]:
    stacking = {"mode": "normal" if panel.is_stacked else "none", "group": "A"}
    custom = {"fillOpacity": 20 if panel.is_stacked else 0, "stacking": stacking, "showPoints": "never"}
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": SOURCE,
        "gridPos": spot,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": SOURCE}
            for place, (query, legend) in enumerate(panel.series)
        ],
    }


if __name__ == "__main__":
    sys.exit(write_or_check({TARGET: render()}, "its rows"))

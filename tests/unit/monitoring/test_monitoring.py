"""What is counted, what is said of it, and what alerts ask: names and labels fit each other."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.docs import dashboard
from hack.docs.metrics import LABELS, TARGET, families, labels_of, name_of, registries, render

pytestmark = pytest.mark.requirement("OPS-3")

ROOT = Path(__file__).resolve().parents[3]
ALERTS = ROOT / "manifests" / "monitoring" / "alerts.yaml"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
FREE_LABELS = {"status"}
"""Labels whose values alerts match by other rules than a list."""
UNITS = (
    *("_seconds", "_total", "_bytes", "_keys", "_jobs", "_streams", "_sessions", "_way", "_reachable", "_leading"),
    "_deliveries",
)
KINDS = {"counter": "_total", "histogram": "_seconds"}
SUFFIXES = re.compile(r"_(bucket|sum|count|total)$")

METRICS = {
    metric.name: (metric, labels_of(registry, metric))
    for registry in registries().values()
    for metric in families(registry)
}


def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(ALERTS.read_text())["spec"]["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


RULES = rules()


def test_each_metric_is_named_by_what_it_counts_and_its_unit() -> None:
    names = [name_of(metric) for metric, _ in METRICS.values()]
    assert [name for name in names if not re.fullmatch(r"agentsession_[a-z_]+", name) or not name.endswith(UNITS)] == []
    wrong = [
        name_of(metric)
        for metric, _ in METRICS.values()
        if metric.type in KINDS and not name_of(metric).endswith(KINDS[metric.type])
    ]
    assert wrong == []


def test_each_metric_says_what_it_is_in_a_sentence() -> None:
    assert [name for name, (metric, _) in METRICS.items() if not metric.documentation.endswith(".")] == []


def test_each_label_is_from_a_set_that_is_written_down() -> None:
    there = {(name, label) for name, (_, labels) in METRICS.items() for label in labels}
    assert there == set(LABELS)


def test_the_page_names_every_metric_that_the_processes_have() -> None:
    assert TARGET.read_text() == render(), "run `make generate`"


def require_known(query: str) -> None:
    """Fail unless every metric, label and value that a query names is there."""
    asked = re.findall(r"(agentsession_\w+)(?:\{([^}]*)\})?", query)
    assert asked
    for name, matchers in asked:
        base = name if name in METRICS else SUFFIXES.sub("", name)
        assert base in METRICS, f"{name} is no metric of ours"
        metric, labels = METRICS[base]
        assert name.startswith(name_of(metric)) or metric.type == "histogram", f"{name} has no such name"
        for label, value in re.findall(r'(\w+)=~?"([^"]*)"', matchers):
            assert label in labels, f"{name} has no label {label}"
            values = LABELS[base, label]
            if label not in FREE_LABELS:
                assert set(value.split("|")) <= set(values), f"{label} of {name} is never {value}"
        grouped = {label for group in re.findall(r"by \(([^)]*)\)", query) for label in group.split(", ")}
        assert grouped <= {*labels, "le"}, f"{name} has not the labels {grouped}"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    require_known(rule["expr"])


PANELS = [panel for panel in json.loads(dashboard.render())["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_asks_for_metrics_and_labels_that_there_are(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        require_known(target["expr"])
        assert target["expr"].count("(") == target["expr"].count(")")


def test_panels_do_not_lie_over_each_other() -> None:
    spots = [
        (x, y)
        for panel in json.loads(dashboard.render())["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(spots) == len(set(spots))
    assert max(x for x, _ in spots) < dashboard.WIDTH


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_is_whole_and_has_a_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["summary"].endswith(".")
    assert re.fullmatch(r"\d+[mh]", rule.get("for", "1m"))
    assert rule["expr"].count("(") == rule["expr"].count(")")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    assert ROOT / page == RUNBOOKS
    assert anchor == rule["alert"].lower()


def test_each_runbook_belongs_to_an_alert() -> None:
    assert re.findall(r"^## (\w+)$", RUNBOOKS.read_text(), re.MULTILINE) == [rule["alert"] for rule in RULES]

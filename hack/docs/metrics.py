"""Write docs/metrics.md from the registries of gateway and operator: `python hack/docs/metrics.py [--check]`."""

import sys
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from prometheus_client import REGISTRY, CollectorRegistry, Metric

from agentsessions.api.reasons import ErrorCode, Phase
from agentsessions.api.v1alpha1.placement import MigrationState
from agentsessions.controller.metrics import Metrics
from agentsessions.gateway.metrics import CallOutcome, Direction, Review, ReviewResult, Stream
from agentsessions.journal.measures import JobResult
from agentsessions.journal.outbox import Result
from hack.generated import REPAIR, ROOT, write_or_check

TARGET: Final = ROOT / "docs" / "metrics.md"
PREFIX: Final = "agentsession_"

Values = type[StrEnum] | str
LABELS: Final[dict[tuple[str, str], Values]] = {
    ("agentsession_sessions", "phase"): Phase,
    ("agentsession_transitions", "phase"): Phase,
    ("agentsession_migrations", "state"): MigrationState,
    ("agentsession_passes", "result"): "done, conflict, passing, refused, bug",
    ("agentsession_writes", "object"): "kind of object",
    ("agentsession_missed", "kind"): "kind of resource",
    ("agentsession_gateway_requests", "method"): "HTTP method, or other",
    ("agentsession_gateway_requests", "route"): "path template of the route, or other",
    ("agentsession_gateway_requests", "status"): "HTTP status",
    ("agentsession_gateway_request_seconds", "route"): "path template of the route, or other",
    ("agentsession_gateway_open_streams", "stream"): Stream,
    ("agentsession_gateway_dropped_streams", "stream"): Stream,
    ("agentsession_gateway_reviews", "review"): Review,
    ("agentsession_gateway_reviews", "result"): ReviewResult,
    ("agentsession_gateway_review_seconds", "review"): Review,
    ("agentsession_gateway_remembered_reviews", "review"): Review,
    ("agentsession_model_calls", "outcome"): CallOutcome,
    ("agentsession_model_call_failures", "code"): ErrorCode,
    ("agentsession_model_tokens", "direction"): Direction,
    ("agentsession_journal_jobs", "result"): JobResult,
    ("agentsession_webhook_requests", "result"): Result,
}
"""What each label may say: a closed set, never the name of an object."""

INTRODUCTION: Final = f"""\
# Metrics

<!-- generated from operator/agentsessions by `{REPAIR}`; do not edit -->

Operator and gateway serve them at `/metrics` on port 8080, plain, in Prometheus' format. Units are base units; labels
come from closed sets, so the number of series does not grow with sessions. What one session spent, did and waits for is
not here but in its status and in the gateway's API. Histograms have `_bucket`, `_sum` and `_count`.

[Alert rules](../manifests/monitoring/alerts.yaml) have a [runbook](runbooks.md) each; a
[dashboard](../manifests/monitoring/dashboard.json) can be imported into Grafana. Refusals for too many requests
are `{PREFIX}gateway_requests_total{{status="429"}}`, failed authentication is `status="401"`.
"""


def families(registry: CollectorRegistry) -> Iterator[Metric]:
    """Yield the metrics of ours in a registry, by name."""
    yield from sorted((one for one in registry.collect() if one.name.startswith(PREFIX)), key=lambda one: one.name)


def registries() -> dict[str, CollectorRegistry]:
    """Return the registry of each process, as it is in production."""
    operator = Metrics()
    operator.count_sessions(lambda: ())
    return {"Gateway": REGISTRY, "Operator": operator.registry}


def name_of(metric: Metric) -> str:
    """Return the name that queries use."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def labels_of(registry: CollectorRegistry, metric: Metric) -> tuple[str, ...]:
    """Return the names of a metric's labels, also of one that has no value yet."""
    collectors = registry._names_to_collectors  # noqa: SLF001 - nothing public tells labels of what is empty
    known = getattr(collectors.get(metric.name), "_labelnames", None)
    if known is not None:
        return tuple(known)
    return tuple(sorted({label for sample in metric.samples for label in sample.labels}))


def render() -> str:
    """Return the page.

    Raises:
        KeyError: A label has no entry in `LABELS`.
    """
    parts = [INTRODUCTION]
    for process, registry in registries().items():
        parts.append(f"\n## {process}\n\n| metric | kind | labels | what |\n|---|---|---|---|")
        for metric in families(registry):
            labels = "; ".join(
                f"`{label}`: {_values(LABELS[metric.name, label])}" for label in labels_of(registry, metric)
            )
            parts.append(f"| `{name_of(metric)}` | {metric.type} | {labels} | {metric.documentation} |")
    return "\n".join(parts) + "\n"


def _values(values: Values) -> str:
    return values if isinstance(values, str) else ", ".join(values)


if __name__ == "__main__":
    sys.exit(write_or_check({TARGET: render()}, "the registries"))

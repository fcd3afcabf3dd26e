"""Numbers about the operator. Labels come from closed sets, never from names of objects."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from agentsessions.api.reasons import Phase

PASS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class PhaseCollector(Collector):
    """Counts sessions by phase when asked, instead of keeping a count."""

    def __init__(self, phases: Callable[[], Iterable[Phase | None]]) -> None:
        self._phases = phases

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield one gauge with a value for each phase."""
        tally = Tally(phase or Phase.PENDING for phase in self._phases())
        family = GaugeMetricFamily("agentsession_sessions", "Sessions by phase.", labels=["phase"])
        for phase in Phase:
            family.add_metric([phase.value], tally[phase])
        yield family


class Metrics:
    """The operator's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.passes = Counter(
            "agentsession_passes_total", "Passes over a session, by how they ended.", ["result"], registry=self.registry
        )
        self.pass_seconds = Histogram(
            "agentsession_pass_seconds", "Time of one pass.", buckets=PASS_BUCKETS, registry=self.registry
        )
        self.transitions = Counter(
            "agentsession_transitions_total", "Phases entered.", ["phase"], registry=self.registry
        )
        self.migrations = Counter(
            "agentsession_migrations_total", "States of moves entered.", ["state"], registry=self.registry
        )
        self.writes = Counter("agentsession_writes_total", "Objects written.", ["object"], registry=self.registry)
        self.bugs = Counter("agentsession_bugs_total", "Passes that ended in a bug of ours.", registry=self.registry)
        self.missed = Counter(
            "agentsession_missed_total", "Changes that only the sweep found.", ["kind"], registry=self.registry
        )
        self.queue_oldest_seconds = Gauge(
            "agentsession_queue_oldest_seconds", "Age of the oldest key that waits.", registry=self.registry
        )
        self.queued = Gauge("agentsession_queue_keys", "Keys that wait for a worker.", registry=self.registry)
        self.watch_age_seconds = Gauge(
            "agentsession_watch_age_seconds",
            "Time since the API server was last heard of on the watch of pods.",
            registry=self.registry,
        )
        self.gateway_reachable = Gauge(
            "agentsession_gateway_reachable", "1 while the gateway's levels are live.", registry=self.registry
        )
        self.leading = Gauge(
            "agentsession_operator_leading", "1 while this replica acts, 0 while it stands by.", registry=self.registry
        )
        self.lease_age_seconds = Gauge(
            "agentsession_operator_lease_age_seconds",
            "Time since the Lease was last seen to be renewed; 0 without one.",
            registry=self.registry,
        )

    def count_sessions(self, phases: Callable[[], Iterable[Phase | None]]) -> None:
        """Report sessions by phase."""
        self.registry.register(PhaseCollector(phases))

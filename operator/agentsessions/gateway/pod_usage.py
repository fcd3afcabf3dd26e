"""Memory and CPU of a session's pods, from the metrics API (metrics.k8s.io) where the cluster serves one.

The kubelet's summary would tell the same without it, but to read that takes `nodes/proxy`, which is the right to run
commands in every pod of the node: the gateway does not ask for it.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from agentsessions.children.quantity import to_number
from agentsessions.engine.client import Client
from agentsessions.engine.errors import ApiError, Forbidden, NotFound
from agentsessions.engine.resources import Resource, resource_path
from agentsessions.lifecycle.facts import SessionView

POD_METRICS: Final = Resource("metrics.k8s.io", "v1beta1", "pods", "PodMetrics")


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What the pods of a session use now, together; without figures, why there are none."""

    memory_bytes: int | None = None
    cpu_cores: float | None = None
    reason: str | None = None


async def fetch_pod_usage(client: Client, session: SessionView | None) -> PodUsage:
    """Return what the session's pods use now."""
    agents = [] if session is None else session.status.agents or []
    names = [agent.pod_name for agent in agents if agent.pod_name and agent.state in {"Starting", "Running"}]
    if session is None or not names:
        return PodUsage(reason="no pod of the session runs")
    memory, cpu = Decimal(0), Decimal(0)
    try:
        for name in names:
            found = await client.get(resource_path(POD_METRICS, session.namespace, name))
            memory += _sum(found, "memory")
            cpu += _sum(found, "cpu")
    except NotFound:
        return PodUsage(reason="the cluster serves no metrics.k8s.io, or has not measured the pod yet")
    except Forbidden:
        return PodUsage(reason="the gateway may not read pods.metrics.k8s.io here")
    except (ApiError, ValueError, KeyError) as error:
        return PodUsage(reason=f"the metrics API did not answer: {error}")
    return PodUsage(int(memory), round(float(cpu), 6))


def _sum(found: dict[str, Any], resource: str) -> Decimal:
    return sum((to_number(one["usage"][resource]) for one in found.get("containers") or ()), Decimal(0))

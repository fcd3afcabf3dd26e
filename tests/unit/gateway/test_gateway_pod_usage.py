"""Memory and CPU of pods, from a server that speaks as the metrics API does."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.api.v1alpha1.status import SessionStatus
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.gateway.pod_usage import fetch_pod_usage
from agentsessions.lifecycle.facts import SessionView
from tests.journal.builders import T0

PATH = "/apis/metrics.k8s.io/v1beta1/namespaces/team/pods/{pod}"
USED: dict[str, Any] = {
    "one": {"containers": [{"name": "agent", "usage": {"cpu": "250m", "memory": "64Mi"}}]},
    "two": {"containers": [{"name": "agent", "usage": {"cpu": "1234567n", "memory": "1024"}}]},
    "odd": {"containers": [{"name": "agent", "usage": {"cpu": "much", "memory": "1"}}]},
}
REFUSED = {"reason": "Forbidden", "message": "no", "code": 403}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async def answer(request: web.Request) -> web.Response:
        pod = request.match_info["pod"]
        if pod == "secret":
            return web.json_response(REFUSED, status=403)
        found = USED.get(pod)
        return web.json_response(found or {"reason": "NotFound"}, status=200 if found else 404)

    app = web.Application()
    app.router.add_get(PATH, answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    access = ClusterAccess(server=f"http://127.0.0.1:{runner.addresses[0][1]}", ssl=False, token=lambda: "t")
    async with Client(access, field_manager="test") as client:
        yield client
    await runner.cleanup()


def a_view(*pods: str, state: str = "Running") -> SessionView:
    agents = [{"name": f"a{n}", "epoch": 1, "podName": pod, "state": state} for n, pod in enumerate(pods)]
    status = SessionStatus.model_validate({"agents": agents})
    return SessionView("team", "s", "s", 1, "1", T0, is_deleting=False, spec=SessionSpec(goal="g"), status=status)


@pytest.mark.requirement("OPS-2")
async def test_what_pods_use_is_summed_up(client: Client) -> None:
    used = await fetch_pod_usage(client, a_view("one", "two"))
    assert (used.memory_bytes, used.cpu_cores, used.reason) == (64 * 2**20 + 1024, 0.251235, None)


@pytest.mark.requirement("OPS-2")
@pytest.mark.parametrize(
    ("view", "why"),
    [
        pytest.param(None, "no pod", id="a session that is gone"),
        pytest.param(a_view("one", state="Ended"), "no pod", id="a pod that ended"),
        pytest.param(a_view("unknown"), "serves no metrics", id="no metrics"),
        pytest.param(a_view("secret"), "may not read", id="no right"),
        pytest.param(a_view("odd"), "did not answer", id="an answer that says nothing"),
    ],
)
async def test_without_figures_there_is_a_reason(client: Client, view: SessionView | None, why: str) -> None:
    used = await fetch_pod_usage(client, view)
    assert (used.memory_bytes, used.cpu_cores) == (None, None)
    assert why in (used.reason or "")

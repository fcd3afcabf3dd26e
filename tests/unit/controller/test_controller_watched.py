"""Which views are read again before a pod is made or ended: those that may be older than our right to act."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.api.reasons import Phase
from agentsessions.controller.app import Operator
from agentsessions.controller.kinds import AGENT_SESSIONS
from agentsessions.controller.leadership import build_leadership
from agentsessions.controller.settings import Settings
from agentsessions.controller.store import Sessions
from agentsessions.controller.views import SessionRecord
from agentsessions.controller.watched import Watched
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.engine.errors import ApiError
from tests.unit.controller.objects import a_raw_session

KEY = "team/rows"
OVER = {"phase": "Completed"}


class Cluster:
    """An API server with one session at most. What it lists may be older than what it has."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.list_version = "10"
        self.session: dict[str, Any] | None = None
        self.is_up = True
        self.reads = 0

    async def handle(self, request: web.Request) -> web.Response:
        if "/leases" in request.path:
            return await self._lease(request)
        if request.path.endswith("/agentsessions"):
            return web.json_response({"metadata": {"resourceVersion": self.list_version}, "items": self.listed})
        self.reads += 1
        if not self.is_up:
            return web.json_response({}, status=500)
        if self.session is None:
            return web.json_response({"reason": "NotFound"}, status=404)
        return web.json_response(self.session)

    async def _lease(self, request: web.Request) -> web.Response:
        """Give the Lease to whoever asks."""
        if request.method == "GET":
            return web.json_response({"reason": "NotFound"}, status=404)
        lease = await request.json()
        lease["metadata"]["resourceVersion"] = "12"
        return web.json_response(lease, status=201)


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
async def client(cluster: Cluster) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cluster.handle)
    async with TestServer(app) as server:
        access = ClusterAccess(server=str(server.make_url("")).rstrip("/"), ssl=False, token=lambda: None)
        async with Client(access, field_manager="tests") as client:
            yield client


@pytest.fixture
async def watched(client: Client) -> Watched[SessionRecord]:
    nothing = lambda *_: None  # noqa: E731  # nobody is told here
    return Watched(client, AGENT_SESSIONS, Sessions(), on_change=nothing, on_gone=nothing)


def phase_of(watched: Watched[SessionRecord]) -> Phase | None:
    record = watched.records.get(KEY)
    assert record is not None
    return record.view.status.phase


async def test_a_view_that_an_old_list_gave_is_replaced_before_it_is_acted_on(
    cluster: Cluster, watched: Watched[SessionRecord]
) -> None:
    cluster.listed, cluster.session = [a_raw_session("7")], a_raw_session("30", status=OVER)
    await watched.load()
    assert phase_of(watched) is None
    assert await watched.confirm(KEY)
    assert phase_of(watched) is Phase.COMPLETED


async def test_a_view_that_the_stream_brought_costs_no_read(cluster: Cluster, watched: Watched[SessionRecord]) -> None:
    await watched.load()
    watched.note("ADDED", a_raw_session("11"))
    assert not await watched.confirm(KEY)
    assert cluster.reads == 0


async def test_a_listed_view_that_was_right_is_read_once(cluster: Cluster, watched: Watched[SessionRecord]) -> None:
    cluster.listed, cluster.session = [a_raw_session("7")], a_raw_session("7")
    await watched.load()
    assert [await watched.confirm(KEY) for _ in range(3)] == [False, False, False]
    assert cluster.reads == 1


async def test_a_session_that_only_an_old_list_has_is_forgotten(
    cluster: Cluster, watched: Watched[SessionRecord]
) -> None:
    cluster.listed = [a_raw_session("7")]
    await watched.load()
    assert await watched.confirm(KEY)
    assert watched.records.get(KEY) is None


async def test_who_takes_over_holds_what_a_late_stream_brings_for_old_until_a_list_says_when(
    cluster: Cluster, watched: Watched[SessionRecord]
) -> None:
    await watched.load()
    watched.note("ADDED", a_raw_session("11"))
    watched.distrust()
    cluster.session = a_raw_session("30", status=OVER)
    assert await watched.confirm(KEY)
    watched.distrust()
    cluster.list_version = "40"
    await watched.sweep()
    cluster.session = a_raw_session("39", status=OVER)
    watched.note("MODIFIED", a_raw_session("35"))
    assert await watched.confirm(KEY), "older than the list, though the stream brought it"
    cluster.reads = 0
    watched.note("MODIFIED", a_raw_session("41"))
    assert not await watched.confirm(KEY)
    assert cluster.reads == 0


async def test_an_operator_that_stood_by_reads_a_session_again_that_its_stream_brought(
    cluster: Cluster, client: Client
) -> None:
    settings = Settings()
    leadership = build_leadership(settings, client)
    operator = Operator(settings, client, leadership=leadership)
    await operator.sessions.load()
    operator.sessions.note("ADDED", a_raw_session("11"))
    await operator._stand_by(leadership)  # noqa: SLF001  # what comes before it needs kopf and a gateway
    cluster.session = a_raw_session("30", status=OVER)
    assert await operator.sessions.confirm(KEY)


async def test_a_view_that_cannot_be_read_again_is_not_acted_on(
    cluster: Cluster, watched: Watched[SessionRecord]
) -> None:
    cluster.listed, cluster.is_up = [a_raw_session("7")], False
    await watched.load()
    with pytest.raises(ApiError, match="rows"):
        await watched.confirm(KEY)
    cluster.is_up, cluster.session = True, a_raw_session("30")
    assert await watched.confirm(KEY), "not confirmed by a read that failed"

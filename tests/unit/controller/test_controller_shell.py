"""kopf is the shell, and nothing in it makes it write."""

import asyncio
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.controller.app import Operator, StreamMissingError
from agentsessions.controller.settings import Settings
from agentsessions.controller.shell import build_registry, build_settings, to_kopf_session
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.gateway.certificates import renew
from tests.builders import SESSION_UID
from tests.unit.controller.objects import a_raw_provider, a_raw_session

NOWHERE = ClusterAccess(server="http://127.0.0.1:9", ssl=False, token=lambda: None)


@pytest.fixture
async def operator() -> Operator:
    return Operator(Settings(), Client(NOWHERE, field_manager="tests"))


async def test_only_event_handlers_are_registered(operator: Operator) -> None:
    registry = build_registry(operator, NOWHERE, asyncio.Event())
    writing = (registry._changing, registry._spawning, registry._indexing, registry._webhooks)  # noqa: SLF001  # kopf has no public list
    assert [list(group.get_all_handlers()) for group in writing] == [[], [], [], []]
    watching = list(registry._watching.get_all_handlers())  # noqa: SLF001  # likewise
    assert sorted(str(handler.id) for handler in watching) == [
        "provider",
        "quota",
        "session",
        "template",
        "tool-server",
    ]


def test_kopf_keeps_no_state_and_posts_nothing() -> None:
    settings = build_settings()
    essence: Any = {"spec": {}}
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.persistence.progress_storage.clear(essence=essence) == essence
    assert settings.persistence.diffbase_storage.fetch(body=essence) is None
    assert settings.persistence.diffbase_storage.build(body=essence) == {}


def test_kopf_is_back_soon_after_the_api_server_and_gives_up_on_no_short_outage() -> None:
    networking = build_settings().networking
    pauses = networking.error_backoffs
    assert isinstance(pauses, tuple), "an iterator would serve one request only"
    assert max(pauses) <= 2, "kopf's own grow to 21 s, in which no new session is seen"
    assert sum(pauses) >= 120
    assert networking.request_timeout == 30
    assert networking.connect_timeout == 10


async def test_events_of_the_stream_reach_the_stores(operator: Operator) -> None:
    registry = build_registry(operator, NOWHERE, asyncio.Event())
    notes = {str(h.id): h.fn for h in registry._watching.get_all_handlers()}  # noqa: SLF001  # kopf has no public list
    note: Any = notes["session"]
    await note(event={"type": None, "object": a_raw_session("7")})
    await note(event={"type": "MODIFIED", "object": a_raw_session("9")})
    await note(event={"type": "MODIFIED", "object": a_raw_session("8")})
    assert operator.sessions.records.version_of("team/rows") == "9"
    gone = a_raw_session("10")
    assert gone["metadata"]["uid"] == SESSION_UID
    await note(event={"type": "DELETED", "object": gone})
    assert operator.sessions.records.get("team/rows") is None


async def test_a_provider_wakes_the_sessions_that_wait_for_it(operator: Operator) -> None:
    operator.sessions.note(None, a_raw_session())
    assert await operator.queue.get() == "team/rows"
    operator.queue.done("team/rows")
    operator.providers.note("ADDED", a_raw_provider())
    assert await asyncio.wait_for(operator.queue.get(), 1) == "team/rows"


async def test_readiness_names_what_is_missing(operator: Operator) -> None:
    assert "start" in operator.find_missing()
    assert operator.find_stuck() == {}


async def test_an_operator_acts_only_once_kopf_streams_every_kind(operator: Operator) -> None:
    path = "/apis/agentsessions.dev/v1alpha1"

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({}, status=403 if request.path.endswith("sessionquotas") else 200)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}"
        access = ClusterAccess(server=url, ssl=False, token=lambda: None)
        async with to_kopf_session(access, operator.note_stream).aiohttp_session as session:
            for kind, query in (
                ("agentsessions", "watch=true"),
                ("modelproviders", "watch=true"),
                ("agentsessiontemplates", "watch=true"),
                ("toolservers", "watch=true"),
                ("sessionquotas", "limit=500"),
                ("sessionquotas", "watch=true"),
            ):
                async with session.get(f"{url}{path}/{kind}?{query}"):
                    pass
    with pytest.raises(StreamMissingError, match="no stream of sessionquotas"):
        await operator.await_streams(0.01)
    operator.note_stream(f"/k8s/clusters/c-1{path}/sessionquotas")
    await operator.await_streams(0.01)


async def test_kopf_sends_the_token_as_it_is_at_each_request() -> None:
    seen = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/", answer)
    tokens = iter(("first", "second"))
    async with TestServer(app) as server:
        url = f"http://127.0.0.1:{server.port}"
        shown = to_kopf_session(ClusterAccess(server=url, ssl=False, token=lambda: next(tokens)), lambda _path: None)
        async with shown.aiohttp_session as session:
            for _ in range(2):
                async with session.get(url):
                    pass
    assert seen == ["Bearer first", "Bearer second"]


async def test_kopf_expects_the_name_of_the_server_that_the_kubeconfig_tells(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    chain = renew(None, ("api.example",), now)
    ca, crt, key = (tmp_path / name for name in ("ca", "crt", "key"))
    ca.write_bytes(chain.ca.certificate)
    crt.write_bytes(chain.leaf.certificate)
    key.write_bytes(chain.leaf.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(crt, key)
    server = TestServer(web.Application(), scheme="https")
    await server.start_server(ssl=serving)
    try:
        access = ClusterAccess(
            server=f"https://127.0.0.1:{server.port}",
            ssl=ssl.create_default_context(cafile=str(ca)),
            token=lambda: None,
            server_hostname="api.example",
        )
        async with (
            to_kopf_session(access, lambda _path: None).aiohttp_session as session,
            session.get(access.server) as response,
        ):
            assert response.status == 404
    finally:
        await server.close()

"""The objects that ask people: one that is said to be there and is not must be asked for again."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.controller.governance import Governance
from agentsessions.controller.metrics import Metrics
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.engine.errors import AlreadyExists
from agentsessions.lifecycle.facts import JournalView
from tests.builders import T0, a_session
from tests.scenario.gateway import Gateway, a_question

PATH = "/apis/agentsessions.dev/v1alpha1/namespaces/team/sessionapprovals"


async def no_level(_uid: str) -> None:
    raise AssertionError("nothing asks for it")


@pytest.mark.requirement("POL-2")
async def test_an_approval_that_went_while_it_was_asked_for_fails_the_pass() -> None:
    async def create(_request: web.Request) -> web.Response:
        return web.json_response({"reason": "AlreadyExists", "message": "it is there"}, status=409)

    app = web.Application()
    app.router.add_post(PATH, create)  # and no GET: it is not found
    session = a_session().running().facts().session
    level = Gateway(session.spec, session.status, T0).level()
    asked = level.model_copy(update={"approval_pending": [a_question(T0)]})
    async with TestServer(app) as server:
        access = ClusterAccess(server=f"http://127.0.0.1:{server.port}", ssl=False, token=lambda: None)
        client = Client(access, field_manager="test")
        parts = Governance(client, Metrics(), clock=lambda: T0, on_approval=lambda _uid: None, fetch_level=no_level)
        with pytest.raises(AlreadyExists):
            await parts.apply(session, JournalView(is_reachable=True, level=asked))
        await client.close()

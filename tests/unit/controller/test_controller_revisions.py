"""Revisions of templates: pinned once, kept while a session names them, made again or missed, and at last deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentsessions.api.reasons import Reason
from agentsessions.controller.kinds import SESSION_TEMPLATES
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.revisions import RevisionLostError, Revisions
from agentsessions.controller.store import Sessions, Templates
from agentsessions.controller.views import to_session
from agentsessions.controller.watched import Watched
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from tests.unit.controller.objects import a_raw_session

pytestmark = pytest.mark.requirement("AG-6")

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
PATH = "/apis/apps/v1/namespaces/team/controllerrevisions"


class Api:
    """ControllerRevisions of one namespace, over real HTTP."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.template: dict[str, Any] | None = None
        self.now = NOW

    async def create(self, request: web.Request) -> web.Response:
        body = await request.json()
        name = body["metadata"]["name"]
        if name in self.objects:
            return web.json_response({"reason": "AlreadyExists", "message": "it is there"}, status=409)
        body["metadata"] |= {"uid": f"u-{name}", "creationTimestamp": self.now.isoformat(), "resourceVersion": "1"}
        self.objects[name] = body
        return web.json_response(body, status=201)

    async def read(self, request: web.Request) -> web.Response:
        found = self.objects.get(request.match_info["name"])
        if found is None:
            return web.json_response({"reason": "NotFound", "message": "no"}, status=404)
        return web.json_response(found)

    async def read_template(self, _request: web.Request) -> web.Response:
        if self.template is None:
            return web.json_response({"reason": "NotFound", "message": "no"}, status=404)
        return web.json_response(self.template)

    async def list(self, _request: web.Request) -> web.Response:
        items = list(self.objects.values())
        return web.json_response({"metadata": {"resourceVersion": "9"}, "items": items})

    async def delete(self, request: web.Request) -> web.Response:
        return web.json_response(self.objects.pop(request.match_info["name"]))

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Client]:
        app = web.Application()
        app.router.add_post(PATH, self.create)
        app.router.add_get(f"{PATH}/{{name}}", self.read)
        app.router.add_delete(f"{PATH}/{{name}}", self.delete)
        app.router.add_get("/apis/apps/v1/controllerrevisions", self.list)
        path = "/apis/agentsessions.dev/v1alpha1/namespaces/team/agentsessiontemplates/analyst"
        app.router.add_get(path, self.read_template)
        async with TestServer(app) as server:
            access = ClusterAccess(server=f"http://127.0.0.1:{server.port}", ssl=False, token=lambda: "")
            client = Client(access, field_manager="test")
            yield client
            await client.close()


@pytest.fixture
def api() -> Api:
    return Api()


class Stage:
    """A template, the sessions that name it, and what keeps their revisions."""

    def __init__(self, client: Client, api: Api) -> None:
        self.sessions = Sessions()
        ignore = lambda *_: None  # noqa: E731 - nobody is told
        self.templates = Watched(client, SESSION_TEMPLATES, Templates(), on_change=ignore, on_gone=ignore)
        self.revisions = Revisions(client, self.templates, self.sessions, clock=lambda: api.now)
        self._client, self._api = client, api
        self._version = 1

    def forgetful(self) -> Revisions:
        """Return the same as after a restart."""
        return Revisions(self._client, self.templates, self.sessions, clock=lambda: self._api.now)

    def put_template(self, *overridable: str, **session: Any) -> None:
        self._version += 1
        metadata = {
            "namespace": "team", "name": "analyst", "uid": "t", "generation": self._version,
            "resourceVersion": str(self._version),
        }  # fmt: skip
        body = {"metadata": metadata, "spec": {"session": session, "overridable": list(overridable)}}
        self._api.template = body
        self.templates.put(body)

    def session(self, revision: str | None = None, **spec: Any) -> Any:
        self._version += 1
        raw = a_raw_session(str(self._version), **{"goal": "count", "templateRef": {"name": "analyst"}, **spec})
        if revision is not None:
            raw["status"] = {"phase": "Paused", "templateRevision": revision}
        self.sessions.put(raw)
        return to_session(raw).view


@pytest.fixture
async def stage(api: Api) -> AsyncIterator[Stage]:
    async with api.serve() as client:
        yield Stage(client, api)


async def test_a_session_gets_the_template_as_it_is_and_keeps_it(stage: Stage, api: Api) -> None:
    stage.put_template("limits", limits={"maxSteps": 15, "maxTokens": 600})
    merged, view = await stage.revisions.resolve(stage.session(limits={"maxSteps": 3}))
    assert merged.spec.to_json()["limits"] == {"maxSteps": 3, "maxTokens": 600}
    assert list(api.objects) == [view.revision] == [view.newest]
    stage.put_template(limits={"maxSteps": 1})
    later, after = await stage.forgetful().resolve(stage.session(view.revision, limits={"maxSteps": 3}))
    assert later.spec.to_json()["limits"] == {"maxSteps": 3, "maxTokens": 600}
    assert (after.revision, after.newest != view.revision) == (view.revision, True)


async def test_a_second_operator_finds_the_revision_that_the_first_one_made(stage: Stage, api: Api) -> None:
    stage.put_template(title="x")
    await stage.revisions.resolve(stage.session())
    await stage.forgetful().resolve(stage.session())
    assert len(api.objects) == 1


async def test_without_the_template_or_against_it_a_session_is_refused(stage: Stage) -> None:
    with pytest.raises(RefusedError, match="'analyst', which is not in namespace team") as missing:
        await stage.revisions.resolve(stage.session())
    stage.put_template("goal", limits={"maxSteps": 15})
    with pytest.raises(RefusedError, match=r"sets spec\.limits and lets sessions override goal") as refused:
        await stage.revisions.resolve(stage.session(limits={"maxSteps": 99}))
    assert [missing.value.reason, refused.value.reason] == [Reason.TEMPLATE_NOT_FOUND, Reason.OVERRIDE_NOT_ALLOWED]


async def test_a_foreign_object_under_the_revisions_name_is_not_believed(stage: Stage, api: Api) -> None:
    stage.put_template(title="x")
    _, view = await stage.revisions.resolve(stage.session())
    api.objects[view.revision]["data"]["spec"] = {"session": {"goal": "steal"}}
    with pytest.raises(RefusedError, match="is in the way"):
        await stage.forgetful().resolve(stage.session())


async def test_a_lost_revision_is_made_again_as_long_as_the_template_says_the_same(stage: Stage, api: Api) -> None:
    stage.put_template(limits={"maxSteps": 15})
    _, view = await stage.revisions.resolve(stage.session())
    api.objects.clear()
    await stage.forgetful().resolve(stage.session(view.revision))
    assert list(api.objects) == [view.revision]
    api.objects.clear()
    stage.put_template(limits={"maxSteps": 2})
    with pytest.raises(RevisionLostError, match=view.revision):
        await stage.forgetful().resolve(stage.session(view.revision))


async def test_limits_raised_against_the_template_change_nothing_and_are_told(stage: Stage) -> None:
    stage.put_template(limits={"maxSteps": 15})
    _, view = await stage.revisions.resolve(stage.session())
    merged, after = await stage.revisions.resolve(stage.session(view.revision, limits={"maxSteps": 99}))
    assert merged.spec.to_json()["limits"] == {"maxSteps": 15}
    assert after.not_allowed == ("limits",)


async def test_a_revision_is_deleted_an_hour_after_the_last_session_that_names_it(stage: Stage, api: Api) -> None:
    stage.put_template(title="x")
    _, view = await stage.revisions.resolve(stage.session())
    await stage.revisions.sweep()
    assert list(api.objects) == [view.revision], "a pass may be about to name it"
    api.now += timedelta(hours=2)
    stage.session(view.revision)
    await stage.revisions.sweep()
    assert list(api.objects) == [view.revision], "a session names it"
    stage.sessions.remove("team/rows")
    await stage.revisions.sweep()
    assert api.objects == {}

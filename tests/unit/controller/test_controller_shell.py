"""kopf is the shell, and nothing in it makes it write."""

import asyncio
from typing import Any

import pytest

from agentsessions.controller.app import Operator
from agentsessions.controller.settings import Settings
from agentsessions.controller.shell import build_registry, build_settings
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
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
    assert sorted(str(handler.id) for handler in watching) == ["provider", "session"]


def test_kopf_keeps_no_state_and_posts_nothing() -> None:
    settings = build_settings()
    essence: Any = {"spec": {}}
    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.persistence.progress_storage.clear(essence=essence) == essence
    assert settings.persistence.diffbase_storage.fetch(body=essence) is None


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

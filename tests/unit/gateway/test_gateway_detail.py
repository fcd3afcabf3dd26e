"""A session as it is shown whole: what came of it, and what went wrong."""

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.api.wire import Outcome
from agentsessions.gateway.models import SessionDetail, to_detail
from agentsessions.journal.store import Store
from tests.journal.builders import a_player, a_session, an_answer


async def shown(store: Store) -> SessionDetail:
    row = await store.get_session_by_uid("s1")
    assert row is not None
    return to_detail(row, await store.level("s1"))


@pytest.mark.requirement("CONV-2")
@pytest.mark.parametrize(("text", "is_cut"), [("done", False), ("long " * 1000, True)], ids=["short", "long"])
async def test_a_session_shows_the_text_that_it_ended_with(store: Store, text: str, is_cut: bool) -> None:
    player = await a_player(store)
    assert (await shown(store)).to_json().keys().isdisjoint({"result", "resultTruncated", "error"})
    await store.pin_turn(player.pod)
    await player.ask(an_answer(text))
    await player.commit(1, Outcome.FINAL)
    detail = await shown(store)
    assert (detail.result, detail.result_truncated) == (text[:4096], is_cut)


async def test_a_session_that_failed_shows_why_also_when_its_resource_is_gone(store: Store) -> None:
    error = {"code": "model_error", "message": "the provider refused the key"}
    await store.put_session(a_session(phase=Phase.FAILED, error=error))
    await store.mark_deleted("s1", a_session().created_at)
    detail = await shown(store)
    assert detail.error is not None
    assert detail.error.to_json() == error

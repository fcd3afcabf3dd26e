"""A sealed journal: verified with the last answer, and not changed any more."""

from functools import partial

import pytest
from sqlalchemy import update

from agentsessions.api.wire import Outcome
from agentsessions.gateway.seals import ensure_seal
from agentsessions.journal import redactions, seals
from agentsessions.journal.refusals import MessageFixed
from agentsessions.journal.store import ENDS, Store
from agentsessions.journal.tables import entries
from tests.journal.builders import Player, a_player, an_answer, call_ids

pytestmark = [pytest.mark.requirement("OBJ-2"), pytest.mark.requirement("STEP-5")]


async def an_audit(store: Store, **changes: str) -> Player:
    """Play two turns to the last answer."""
    player = await a_player(store, **{"type": "Audit", **changes})
    await store.pin_turn(player.pod)
    (call_id,) = call_ids(await player.ask(an_answer("I look.", "files")))
    await player.report(call_id, "rules")
    await player.commit(1, Outcome.CONTINUE)
    assert await store.read(seals.read_unsealed, "s1") is None, "its last answer is not there"
    await player.answer("Nothing.", ENDS)
    return player


async def test_a_seal_stands_for_the_chain_up_to_the_last_answer(store: Store) -> None:
    await an_audit(store)
    before = await store.level("s1")
    assert before is not None
    await ensure_seal(store, "s1")
    await ensure_seal(store, "s1")
    after = await store.level("s1")
    assert after is not None
    assert after.seal is not None
    assert (after.seal.head, after.seal.digest, after.seal.problem) == (before.head, before.digest, "")


async def test_a_session_of_another_type_has_no_seal(store: Store) -> None:
    await an_audit(store, type="Custom")
    await ensure_seal(store, "s1")
    level = await store.level("s1")
    assert level is not None
    assert level.seal is None


async def test_a_sealed_journal_takes_no_redaction(store: Store) -> None:
    await an_audit(store)
    await ensure_seal(store, "s1")
    wanted = (
        partial(redactions.clear, session_uid="s1", actor="eve"),
        partial(redactions.delete, session_uid="s1", message_id="e5", actor="eve"),
        partial(redactions.edit, session_uid="s1", message_id="e5", wanted=redactions.Edit("x"), actor="eve"),
    )
    for job in wanted:
        with pytest.raises(MessageFixed, match="was sealed at entry"):
            await store.write(job)
    assert await store.verify("s1") == []


async def test_a_chain_that_was_changed_is_sealed_with_its_problem(store: Store) -> None:
    await an_audit(store)
    await store.write(lambda work: work.conn.execute(update(entries).where(entries.c.seq == 2).values(epoch=7)))
    await ensure_seal(store, "s1")
    level = await store.level("s1")
    assert level is not None
    assert level.seal is not None
    assert "entry 2" in level.seal.problem


async def test_a_seal_is_not_put_on_entries_that_nobody_verified(store: Store) -> None:
    await an_audit(store)
    head = await store.read(seals.read_unsealed, "s1")
    assert head is not None
    older = seals.Head(head.seq - 1, "f" * 64)
    assert await store.write(partial(seals.seal, uid="s1", verified=older, problems=[])) is False
    assert await store.read(seals.find_seal, "s1") is None

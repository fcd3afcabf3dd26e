"""Messages between sessions: who may say what to whom, once, in order, and what becomes of a command."""

from dataclasses import replace
from typing import Any

import pytest

from agentsessions.api.reasons import Phase, StopReason
from agentsessions.api.v1alpha1.session import OperatingMode
from agentsessions.api.wire import Outcome
from agentsessions.journal import inbox, mailbox, redactions
from agentsessions.journal.departments import find_departments
from agentsessions.journal.refusals import AgentIdle, NothingYet, StaleEpoch
from agentsessions.journal.rows import Course, MailKind, MailPriority, MessageRow, NewMessage
from agentsessions.journal.store import Store
from tests.journal.builders import T0, Clock, Player, a_player, a_session, an_answer, call_ids

DIRECTS = Course(delegates=True)
SERVES = Course(is_open=True)
OPEN = {"conversation": {"open": True}}


async def a_director(store: Store, uid: str = "boss", **changes: Any) -> Player:
    return await a_player(store, uid, role="Director", **changes)


async def a_department(store: Store, uid: str = "data", **changes: Any) -> Player:
    spec = {**OPEN, **changes.pop("spec", {})}
    return await a_player(store, uid, goal="", role="Department", spec=spec, **changes)


async def send(director: Player, *to: str, task: str = "count", call: str = "c1", **more: Any) -> mailbox.Sent:
    order = mailbox.Order(call, to, task, **more)
    return await director.store.write(lambda work: mailbox.send_command(work, director.pod, order))


async def begun(store: Store, uid: str = "boss", **changes: Any) -> Player:
    """A director with a turn under way."""
    director = await a_director(store, uid, **changes)
    await store.pin_turn(director.pod, DIRECTS)
    return director


async def mail_to(store: Store, uid: str) -> list[MessageRow]:
    found = await store.read(inbox.list_messages, uid, 0, 1000)
    return [message for message in found if message.kind is not None]


@pytest.mark.requirement("AG-4")
async def test_command_reaches_the_department_and_its_answer_the_director_once(store: Store) -> None:
    director, department = await begun(store), await a_department(store)
    sent = await send(director, "data", task="count the rows")
    turn = await store.pin_turn(department.pod, SERVES)
    (said,) = await store.history(turn)
    assert said["content"] == f"[command {sent.id} from director boss]\ncount the rows"

    await department.ask(an_answer("42 rows"), "d1")
    for _ in range(2):  # a commit whose answer was lost is sent again
        await department.commit(turn.k, Outcome.FINAL, SERVES)
    (report,) = await mail_to(store, "boss")
    assert (report.kind, report.sender, report.correlation_id) == (MailKind.PROGRESS_REPORT, "data", sent.id)
    assert (report.content, report.is_held) == ("42 rows", None)
    assert (await director.level()).inbox_pending == 1


@pytest.mark.requirement("AG-4")
async def test_same_call_is_one_command_whoever_is_free_by_then(store: Store) -> None:
    director = await begun(store)
    for uid in ("a", "b"):
        await a_department(store, uid)
    first = await send(director, "a", "b")
    assert await send(director, "b", "a") == first
    assert [len(await mail_to(store, uid)) for uid in ("a", "b")] == [1, 0]


@pytest.mark.requirement("AG-9")
async def test_commands_go_round_the_departments_that_fit(store: Store, clock: Clock) -> None:
    director = await begun(store)
    for uid in ("a", "b", "c"):
        await a_department(store, uid)
    order = []
    for number in range(7):
        clock.move(seconds=1)
        order.append((await send(director, "c", "a", "b", call=f"c{number}")).to)
    assert order == ["a", "b", "c", "a", "b", "c", "a"]


@pytest.mark.requirement("AG-4")
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"namespace": "elsewhere"}, id="a department of another namespace"),
        pytest.param({"owner": "bob"}, id="a department of another owner"),
        pytest.param({"spec": {"directorRef": {"name": "other"}}}, id="another director's department"),
        pytest.param({"spec": {"conversation": {"open": False}}}, id="a department that is being closed"),
        pytest.param({"operating_mode": OperatingMode.PAUSED}, id="a department that is to pause"),
        pytest.param({"phase": Phase.PAUSED}, id="a paused department"),
        pytest.param({"phase": Phase.FAILED}, id="a failed department"),
    ],
)
async def test_who_is_not_registered_gets_no_command(store: Store, changes: dict[str, Any]) -> None:
    director = await begun(store)
    await a_department(store, **changes)
    assert await store.read(find_departments, "boss") == []
    with pytest.raises(mailbox.NobodyThere):
        await send(director, "data")


@pytest.mark.parametrize("role", ["Observer", "Worker", "Director"])
async def test_session_of_another_role_gets_no_command(store: Store, role: str) -> None:
    director = await begun(store)
    await a_player(store, "other", role=role, spec=OPEN)
    with pytest.raises(mailbox.NobodyThere):
        await send(director, "other")


@pytest.mark.requirement("OBJ-4")
async def test_worker_that_names_a_director_takes_its_commands_alone(store: Store) -> None:
    director, other = await begun(store), await begun(store, "other")
    await a_player(store, "w", role="Worker", spec={"goal": "x", "directorRef": {"name": "boss"}})
    assert [row.name for row in await store.read(find_departments, "boss")] == ["w"]
    assert await store.read(find_departments, "other") == []
    assert (await send(director, "w")).to == "w"
    with pytest.raises(mailbox.NobodyThere):
        await send(other, "w")


@pytest.mark.parametrize("role", ["Observer", "Department", "Worker"])
async def test_only_a_director_sends_commands(store: Store, role: str) -> None:
    player = await begun(store)
    await a_department(store)
    await store.put_session(replace(a_session("boss", role=role), generation=2))
    with pytest.raises(mailbox.NotAllowed, match=role):
        await send(player, "data")
    assert await mail_to(store, "data") == []


async def test_old_pod_of_a_director_sends_nothing(store: Store) -> None:
    director = await begun(store)
    await a_department(store)
    await a_director(store, epoch=2)
    with pytest.raises(StaleEpoch):
        await send(director, "data")


@pytest.mark.requirement("AG-4")
async def test_each_command_is_a_turn_of_its_own_and_the_urgent_one_comes_first(store: Store) -> None:
    first, second = await begun(store, "first"), await begun(store, "second")
    department = await a_department(store)
    await send(first, "data", task="one", call="c1", priority=MailPriority.LOW)
    await send(first, "data", task="two", call="c2", priority=MailPriority.CRITICAL)
    await send(second, "data", task="three", call="c3", priority=MailPriority.HIGH)
    await store.put_message("data", NewMessage("m1", "hello", "alice"))
    taken = []
    for _ in range(4):
        turn = await department.answer("done", SERVES)
        taken.append((await store.history(turn))[-1]["content"].splitlines()[-1])
    # What one director said stays in its order, so its urgent command waits for its patient one.
    assert taken == ["three", "hello", "one", "two"]


async def test_command_that_comes_during_work_waits_for_the_answer(store: Store) -> None:
    director, department = await begun(store), await a_department(store)
    one = await send(director, "data", task="one")
    await store.pin_turn(department.pod, SERVES)
    (call_id,) = call_ids(await department.ask(an_answer("", "shell"), "d1"))
    await department.report(call_id, "x")
    await department.commit(1, Outcome.CONTINUE, SERVES)
    two = await send(director, "data", task="two", call="c2")
    turn = await department.answer("first done", SERVES)
    assert "two" not in str(await store.history(turn))
    await department.answer("second done", SERVES)
    found = [(message.correlation_id, message.content) for message in await mail_to(store, "boss")]
    assert found == [(one.id, "first done"), (two.id, "second done")]


@pytest.mark.requirement("AG-4")
async def test_director_waits_for_all_answers_and_is_woken_once(store: Store) -> None:
    director = await begun(store)
    departments = [await a_department(store, uid) for uid in ("a", "b")]
    for number, uid in enumerate(("a", "b")):
        await send(director, uid, call=f"c{number}")
    await director.ask(an_answer("I wait."), "d1")
    await director.commit(1, Outcome.FINAL, DIRECTS)
    with pytest.raises(NothingYet):
        await store.pin_turn(director.pod, DIRECTS)
    await departments[0].answer("a is done", SERVES)
    assert (await director.level()).inbox_pending == 0
    await departments[1].answer("b is done", SERVES)
    assert (await director.level()).inbox_pending == 1

    turn = await store.pin_turn(director.pod, DIRECTS)
    said = [item["content"].splitlines()[-1] for item in (await store.history(turn))[-2:]]
    assert said == ["a is done", "b is done"]
    await director.ask(an_answer("All done."), "d2")
    assert (await director.commit(turn.k, Outcome.FINAL, DIRECTS)).is_last


async def test_director_that_nobody_talks_with_any_more_still_gets_the_answer(store: Store) -> None:
    director = await begun(store, spec={"goal": "x", "conversation": {"open": False}})
    department = await a_department(store)
    await send(director, "data")
    assert (await director.level()).open_commands == 1
    await director.ask(an_answer("I wait."), "d1")
    await director.commit(1, Outcome.FINAL, DIRECTS)
    await department.answer("42", SERVES)
    assert [message.content for message in await mail_to(store, "boss")] == ["42"]
    assert (await director.level()).open_commands == 0


async def test_waiting_director_releases_its_pod(store: Store, clock: Clock) -> None:
    director = await begun(store)
    await a_department(store)
    await send(director, "data")
    await director.ask(an_answer("I wait."), "d1")
    await director.commit(1, Outcome.FINAL, DIRECTS)
    clock.move(seconds=61)
    with pytest.raises(AgentIdle):
        await store.pin_turn(director.pod, DIRECTS)


@pytest.mark.requirement("AG-4")
async def test_reports_during_the_work_wait_for_the_answer(store: Store) -> None:
    director, department = await begun(store), await a_department(store)
    await send(director, "data")
    await store.pin_turn(department.pod, SERVES)
    for _ in range(2):
        told = await store.write(lambda work: mailbox.send_report(work, department.pod, "c9", "half way"))
        assert told == ["boss"]
    assert (await director.level()).inbox_pending == 0
    await department.ask(an_answer("done"), "d1")
    await department.commit(1, Outcome.FINAL, SERVES)
    found = [(message.content, message.is_held) for message in await mail_to(store, "boss")]
    assert found == [("half way", True), ("done", None)]


async def test_nobody_hears_of_work_that_no_director_wants(store: Store) -> None:
    department = await a_department(store)
    await department.say("hello")
    await store.pin_turn(department.pod, SERVES)
    with pytest.raises(mailbox.NotAllowed):
        await store.write(lambda work: mailbox.send_report(work, department.pod, "c9", "half way"))


ENDED = {"phase": Phase.CANCELLED, "phase_started_at": T0, "stop_reason": StopReason.USER_CANCELLED, "generation": 2}


@pytest.mark.requirement("AG-4")
@pytest.mark.parametrize("how", ["cancelled", "deleted"])
async def test_commands_of_a_department_that_ends_come_back_as_errors(store: Store, how: str) -> None:
    director, department = await begun(store), await a_department(store)
    sent = [await send(director, "data", call=f"c{number}") for number in range(2)]
    await store.pin_turn(department.pod, SERVES)  # one is taken, the other waits
    for _ in range(2):
        if how == "deleted":
            await store.mark_deleted("data", T0)
        else:
            row = a_session("data", goal="", role="Department", spec=OPEN, **ENDED)
            await store.put_session(row)
    found = await mail_to(store, "boss")
    assert [(message.kind, message.correlation_id) for message in found] == [
        (MailKind.ERROR, command.id) for command in sent
    ]
    assert how in found[0].content.lower()
    assert (await director.level()).inbox_pending == 2


async def test_command_that_somebody_deletes_comes_back_as_an_error(store: Store) -> None:
    director = await begun(store)
    await a_department(store)
    sent = await send(director, "data")
    await store.write(lambda work: redactions.delete(work, "data", sent.id, "alice"))
    (error,) = await mail_to(store, "boss")
    assert (error.kind, error.correlation_id) == (MailKind.ERROR, sent.id)


async def test_answer_to_a_director_that_is_over_disturbs_nobody(store: Store) -> None:
    director, department = await begun(store), await a_department(store)
    await send(director, "data")
    await store.mark_deleted("boss", T0)
    await department.answer("done", SERVES)
    assert await mail_to(store, "boss") == []


@pytest.mark.requirement("AG-4")
async def test_command_is_delivered_once_over_the_loss_of_both_pods(store: Store) -> None:
    director, department = await begun(store), await a_department(store)
    sent = await send(director, "data")
    director = await a_director(store, epoch=2)
    await store.pin_turn(director.pod, DIRECTS)
    assert await send(director, "data") == sent
    turn = await store.pin_turn(department.pod, SERVES)
    department = await a_department(store, epoch=2)
    assert await store.pin_turn(department.pod, SERVES) == turn
    await department.ask(an_answer("42"), "d1")
    await department.commit(turn.k, Outcome.FINAL, SERVES)
    assert len(await mail_to(store, "data")) == len(await mail_to(store, "boss")) == 1


async def test_mailbox_lists_what_was_sent_and_what_came(store: Store) -> None:
    director, department = await begun(store), await a_department(store)
    await send(director, "data")
    await department.answer("42", SERVES)

    def listed(uid: str, *, is_sent: bool, kind: MailKind | None = None, after: int = 0) -> Any:
        return store.read(lambda conn: mailbox.find_mail(conn, uid, is_sent=is_sent, kind=kind, after=after, limit=10))

    ((place, receiver, command),) = await listed("boss", is_sent=True)
    assert (place, receiver, command.kind, command.state) == (1, "data", MailKind.COMMAND, "answered")
    ((_, receiver, report),) = await listed("boss", is_sent=False)
    assert (receiver, report.content) == ("boss", "42")
    assert await listed("boss", is_sent=False, kind=MailKind.ERROR) == []
    assert await listed("boss", is_sent=True, after=1) == []

"""Sessions that do another one once more: what is served, what is said again, what is told to differ. Jobs and queries.

A replay has a journal of its own, played turn by turn like any other. Turn k is compared with the k-th turn of the
session that it does again, in the transaction that closes it:

- Recorded: the model's answer is the recorded one, and so are the results of tools that do not run. A tool that runs
  may return something else: the journal has what it returned, and the model is shown what was recorded (`shown`), so
  that what comes after is not different for that reason alone.
- Live: everything is done anew, and goes its own way.

The replay ends with the last step that is to be done again. Its result is a summary of what differs.

Of several agents each does its own turns again, and who is due follows from what they do, as it did before: only a
session that completed is done again, and all of it. What passes work on between them therefore always runs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select

from agentsessions.api.v1alpha1.source import ReplayMode, ReplayTools
from agentsessions.api.wire import Outcome, SideEffect
from agentsessions.journal import differences, handoffs, recordings, sources
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place, to_entry
from agentsessions.journal.rows import Columns, PodIdentity, TurnKind
from agentsessions.journal.tables import entries, model_calls, turns
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.teams import Team

TO_OTHERS: Final = frozenset({"send_command", "report_progress", "start_session"})
"""Tools that reach other sessions, though each call does so once: a recorded replay says nothing to anybody."""
MOST_TOLD: Final = 20
"""Steps of which a summary tells what differs; entries tell it of all."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Which session is done again, and how."""

    source_uid: str
    source_name: str
    mode: ReplayMode
    tools: ReplayTools
    steps: int
    """How many of its turns."""

    @property
    def is_recorded(self) -> bool:
        """Whether answers are served and not bought."""
        return self.mode is ReplayMode.RECORDED


def read(origin: dict[str, Any] | None) -> Replay | None:
    """Return how a session does another one once more that was made from this; None for all that do not."""
    if origin is None or "replay" not in origin:
        return None
    how = origin["replay"]
    return Replay(
        origin["uid"], origin["name"], ReplayMode(how["mode"]), ReplayTools(how["tools"]), int(origin["steps"])
    )


def find_answer(conn: Connection, call_id: int) -> recordings.Step | None:
    """Return the recorded answer to a model call of a replay; None when the recording is gone."""
    call = conn.execute(select(model_calls).where(model_calls.c.id == call_id)).mappings().one()
    replay = read(sources.read_origin(conn, call["session_uid"]))
    turn = None if replay is None else _turn(conn, replay, call)
    if replay is None or turn is None:
        return None
    found = _read(conn, replay, turn)
    return None if found.text is None and not found.tools else found


def has_next(conn: Connection, replay: Replay, pod: PodIdentity, newest: Columns, outcome: str) -> bool:
    """Return whether a replay goes on behind a turn that was closed with an outcome."""
    if newest["k"] >= replay.steps:
        return False
    if replay.is_recorded or outcome == Outcome.CONTINUE:
        return True
    return _count_said(conn, pod) < len(_said(conn, replay))


def say(work: Work, ledger: Ledger, pod: PodIdentity, replay: Replay, k: int) -> None:
    """Say again what was said to the other session, in front of turn `k`, which is to be pinned."""
    rest = _said(work.conn, replay)[_count_said(work.conn, pod) :]
    if not rest:
        return
    through = k
    if not replay.is_recorded and k > 1:  # it goes its own way: the next is said once it has answered the last
        through = rest[0][0] if _is_answered(work.conn, pod, k - 1) else 0
    for turn, body in rest:
        if turn <= through:
            ledger.append(EntryType.MESSAGE, body, Place(pod.agent, pod.epoch))


def find_result(
    conn: Connection, replay: Replay, call: Columns, side_effect: SideEffect
) -> recordings.AskedTool | None:
    """Return the recorded result of a tool call that is not to run; None when it is to run.

    Args:
        conn: The journal.
        replay: What is done once more.
        call: The call's row.
        side_effect: How far its effect would reach.
    """
    if handoffs.is_passing_on(call["name"]):
        return None
    is_inside = side_effect is not SideEffect.EXTERNAL and call["name"] not in TO_OTHERS
    if replay.tools is ReplayTools.RUN_INTERNAL and is_inside:
        return None
    return _recorded_call(conn, replay, call)


def shown_instead(conn: Connection, replay: Replay, call: Columns, output: str) -> dict[str, str]:
    """Return what the body of a result has besides: what the model is shown, when something else was recorded."""
    recorded = _recorded_call(conn, replay, call)
    return {} if recorded is None or recorded.output in {None, output} else {"shown": str(recorded.output)}


def _recorded_call(conn: Connection, replay: Replay, call: Columns) -> recordings.AskedTool | None:
    turn = _turn(conn, replay, call) if replay.is_recorded else None
    tools = () if turn is None else _read(conn, replay, turn).tools
    return tools[call["position"]] if call["position"] < len(tools) else None


def close(
    ledger: Ledger,
    pod: PodIdentity,
    replay: Replay,
    turn: Columns,
    place: Place,
    outcome: Outcome,
    team: Team | None,
) -> Outcome:
    """Tell what a turn that is being closed did differently; return how it is closed."""
    work = ledger.work
    if turn["kind"] == TurnKind.COMPACT:
        return outcome
    theirs = _turn(work.conn, replay, turn)
    ledger.save()  # the step is read as it stands
    own = recordings.read_step(work.conn, pod.session_uid, pod.agent, place.round, place.step)
    recorded = None if theirs is None else _read(work.conn, replay, theirs)
    found = differences.between(recorded, own, is_recorded=replay.is_recorded)
    if found:
        text = differences.to_text(place.step, found)
        text = text if team is None else f"{pod.agent}, {text}"
        body = {"step": place.step, "differences": found, "text": text}
        ledger.append(EntryType.DIFFERENCE, body, Place(pod.agent, pod.epoch))
        ledger.save()
    if team is not None:
        if outcome is Outcome.FINAL:
            played = 1 + len(recordings.read_steps(work.conn, pod.session_uid))
            _summarise(work, ledger, pod, replay, played)
        return outcome
    asked = Outcome.CONTINUE if outcome is Outcome.CONTINUE else Outcome.IDLE
    if has_next(work.conn, replay, pod, turn, asked):
        return asked
    _summarise(work, ledger, pod, replay, turn["k"])
    return Outcome.FINAL


def _summarise(work: Work, ledger: Ledger, pod: PodIdentity, replay: Replay, played: int) -> None:
    query = select(entries).where(
        entries.c.session_uid == pod.session_uid, entries.c.type == EntryType.DIFFERENCE.value
    )
    found = [to_entry(row) for row in work.conn.execute(query.order_by(entries.c.seq)).mappings()]
    differing = [entry.body for entry in found if entry.body]
    text = f"{replay.mode} replay of {replay.source_name}: {_count(played, 'step')}, " + (
        f"{len(differing)} differ" if len(differing) > 1 else "1 differs" if differing else "no difference"
    )
    lines = [text, *(body["text"] for body in differing[:MOST_TOLD])]
    if len(differing) > MOST_TOLD:
        lines.append(f"and {len(differing) - MOST_TOLD} more: compare the two sessions")
    if played < replay.steps:
        lines.append(f"it ended before the other one, which has {_count(replay.steps, 'step')}")
    body = {"steps": played, "differing": [one["step"] for one in differing], "text": "\n".join(lines)}
    ledger.mark_result(ledger.append(EntryType.REPLAY_COMPLETE, body, Place(pod.agent, pod.epoch)))


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _turn(conn: Connection, replay: Replay, own: Columns) -> Row[Any] | None:
    """Return the turn of the session that is done again that a turn or a call belongs to: its agent's k-th."""
    played = recordings.read_steps(conn, replay.source_uid)[: replay.steps]
    of_agent = [turn for turn in played if turn.agent == own["agent"]]
    return of_agent[own["k"] - 1] if 0 < own["k"] <= len(of_agent) else None


def _read(conn: Connection, replay: Replay, turn: Row[Any]) -> recordings.Step:
    return recordings.read_step(conn, replay.source_uid, turn.agent, turn.round, turn.answer_step)


def _said(conn: Connection, replay: Replay) -> Sequence[tuple[int, dict[str, Any]]]:
    """Return what was said to the other session, each with the turn that took it, counted from 1."""
    played = recordings.read_steps(conn, replay.source_uid)[: replay.steps]
    if not played:
        return []
    found = []
    for page in recordings.read_said(conn, replay.source_uid, (EntryType.MESSAGE,), played[-1].history_seq):
        for entry in page:
            if entry.agent:
                turn = next(number for number, one in enumerate(played, 1) if entry.seq <= one.history_seq)
                found.append((turn, recordings.body_of_message(entry)))
    return found


def _is_answered(conn: Connection, pod: PodIdentity, k: int) -> bool:
    query = select(turns.c.outcome).where(
        turns.c.session_uid == pod.session_uid, turns.c.agent == pod.agent, turns.c.round == 1, turns.c.k == k
    )
    return conn.scalar(query) == Outcome.IDLE


def _count_said(conn: Connection, pod: PodIdentity) -> int:
    query = select(func.count()).where(
        entries.c.session_uid == pod.session_uid,
        entries.c.agent == pod.agent,
        entries.c.type == EntryType.MESSAGE.value,
    )
    return conn.scalar(query) or 0

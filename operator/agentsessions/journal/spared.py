"""An agent without which its session goes on: its part ends with what failed in the place of an answer.

The operator says so in status, where nothing is lost; a job of the writer passes it on, as often as it is asked, once.
"""

from sqlalchemy import select, update

from agentsessions.api.v1alpha1.team import Strategy
from agentsessions.api.wire import Outcome
from agentsessions.journal import handoffs, parts
from agentsessions.journal.entries import EntryType
from agentsessions.journal.ledger import Ledger, Place
from agentsessions.journal.tables import epochs, turns
from agentsessions.journal.writer import Work
from agentsessions.lifecycle.teams import Team

AGENT_FAILED = "agent_failed"
_DEALT_WITH = frozenset({Outcome.HANDOFF.value, Outcome.FINAL.value})


def spare(work: Work, session_uid: str, agent: str, epoch: int, team: Team, words: str) -> None:
    """End the part of an agent whose epoch was its last; later calls change nothing."""
    newest = parts.newest_epoch(work.conn, session_uid, agent)
    of_epoch = (epochs.c.session_uid == session_uid, epochs.c.agent == agent, epochs.c.epoch == epoch)
    outcome = work.conn.scalar(select(epochs.c.outcome).where(*of_epoch))
    part = parts.find(work.conn, session_uid, agent)
    if newest != epoch or outcome in _DEALT_WITH or part is None or not part["is_due"]:
        return
    ledger = Ledger(work, session_uid)
    seq = ledger.append(EntryType.ERROR, {"code": AGENT_FAILED, "message": words}, Place(agent, epoch))
    work.conn.execute(
        update(turns)
        .where(turns.c.session_uid == session_uid, turns.c.agent == agent, turns.c.outcome.is_(None))
        .values(outcome=Outcome.HANDOFF.value, closed_seq=seq, closed_at=work.now)
    )
    closed = Outcome.HANDOFF
    if team.strategy is Strategy.DIRECTOR:
        handoffs.answer_task(work, ledger, agent, team, f"agent {agent} failed: {words}", is_error=True)
    else:
        closed = parts.end_part(work, ledger, agent, team, seq)
    ledger.save()
    work.conn.execute(update(epochs).where(*of_epoch).values(outcome=closed.value, code=None))
    work.touched.add(session_uid)

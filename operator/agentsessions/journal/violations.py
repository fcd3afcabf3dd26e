"""What a session of type Policy found: calls that a rule did not simply allow. Part of its result."""

from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import Connection, Select, select

from agentsessions.api.v1alpha1.policy import RuleAction
from agentsessions.api.v1alpha1.session import SessionType
from agentsessions.journal.entries import EntryType
from agentsessions.journal.tables import entries, sessions

MOST_LISTED: Final = 20


@cache
def _governed(asked: Select[str]) -> Select[str]:
    return select(sessions.c.uid).where(sessions.c.uid.in_(asked), sessions.c.type == SessionType.POLICY.value)


def read_violations(conn: Connection, asked: Select[str], given: Mapping[str, Any]) -> dict[str, str]:
    """Return what the result of each session of type Policy says about violations, by uid.

    Args:
        conn: The journal.
        asked: A query for the uids of the sessions that are asked about; one of few, as ours is kept for each.
        given: Its parameters.
    """
    found: dict[str, list[str]] = defaultdict(list)
    for uid in conn.scalars(_governed(asked), given):
        found[uid] = []
    if not found:
        return {}
    query = (
        select(entries.c.session_uid, entries.c.step, entries.c.body)
        .where(entries.c.session_uid.in_(list(found)), entries.c.type == EntryType.POLICY_DECISION.value)
        .order_by(entries.c.session_uid, entries.c.seq)
    )
    for row in conn.execute(query):
        if row.body is not None and row.body["action"] != RuleAction.ALLOW:
            found[row.session_uid].append(_tell(row.step, row.body))
    return {uid: _list(lines) for uid, lines in found.items()}


def _tell(step: int, body: dict[str, Any]) -> str:
    trial = " (dry run)" if body["dryRun"] else ""
    why = f": {body['message']}" if body["message"] else ""
    return f"- step {step}, {body['name']}: {body['action']} by rule {body['rule']} of {body['policy']}{trial}{why}"


def _list(lines: list[str]) -> str:
    if not lines:
        return "Policy violations: none"
    more = [f"- and {len(lines) - MOST_LISTED} more, in the journal"] if len(lines) > MOST_LISTED else []
    return "\n".join([f"Policy violations: {len(lines)}", *lines[:MOST_LISTED], *more])

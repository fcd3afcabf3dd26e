"""Decisions of people, from SessionApprovals into the journal.

The operator alone writes an outcome, from what the API server let people write. Here it is copied, once: the journal
takes a decision only for a question that waits, so that a copy which comes again changes nothing.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import structlog

from agentsessions.api.names import GROUP, VERSION
from agentsessions.api.v1alpha1.approval import ApprovalOutcome
from agentsessions.children.approval import to_view
from agentsessions.children.owner import owner_uid
from agentsessions.engine.client import Client
from agentsessions.engine.informer import Informer
from agentsessions.engine.queue import KeyedQueue
from agentsessions.engine.resources import Resource
from agentsessions.journal import approvals
from agentsessions.journal.approvals import Decided
from agentsessions.journal.store import Store
from agentsessions.lifecycle.approvals import ApprovalView

log = structlog.get_logger(__name__)

SESSION_APPROVAL: Final = Resource(GROUP, VERSION, "sessionapprovals", "SessionApproval")
WORKERS: Final = 2
RETRY_SECONDS: Final = 2.0


class DecisionCopier:
    """SessionApprovals as the API server last showed them, and their way into the journal."""

    def __init__(self, client: Client, store: Store) -> None:
        self._store = store
        self._queue = KeyedQueue()
        self._asked: defaultdict[str, dict[str, ApprovalView]] = defaultdict(dict)
        self.informer: Final[Informer[ApprovalView]] = Informer(
            client, SESSION_APPROVAL, convert=to_approval, key_of=lambda view: view.uid, on_change=self._note
        )

    async def run(self) -> None:
        """Watch and copy, for ever."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.informer.run())
            tasks.create_task(self._queue.work(self._copy, WORKERS))

    def asked_of(self, session_uid: str) -> list[ApprovalView]:
        """Return the calls of a session that wait for a person, oldest first."""
        asked = self._asked.get(session_uid, {}).values()
        return sorted(asked, key=lambda view: (view.spec.request.asked_at, view.name))

    def _note(self, old: ApprovalView | None, new: ApprovalView | None) -> None:
        if old is not None:
            self._asked[old.session_uid].pop(old.uid, None)
        if new is not None and new.status.outcome is None:
            self._asked[new.session_uid][new.uid] = new
        elif old is not None and not self._asked[old.session_uid]:
            del self._asked[old.session_uid]
        if new is not None and new.status.outcome not in {None, ApprovalOutcome.WITHDRAWN}:
            self._queue.add(new.uid)

    async def _copy(self, uid: str) -> None:
        view = self.informer.get(uid)
        decided = to_decided(view) if view is not None else None
        if decided is None:
            return
        try:
            is_new = await self._store.write(lambda work: approvals.decide(work, decided))
        except Exception:  # one that cannot be written must not stop the others
            log.exception("decision not written to the journal", approval=uid, retry_seconds=RETRY_SECONDS)
            self._queue.add_after(uid, RETRY_SECONDS)
            return
        if is_new:
            log.info("call decided", session=decided.session_uid, call=decided.call_id, outcome=decided.outcome.value)


def to_decided(view: ApprovalView) -> Decided | None:
    """Return the decision that an approval holds; None when it holds none that counts."""
    request, status, outcome = view.spec.request, view.status, view.status.outcome
    if outcome is None or outcome is ApprovalOutcome.WITHDRAWN:
        return None
    by = tuple(status.decided_by or ())
    said = [one for who, one in sorted((view.spec.decisions or {}).items()) if who in by]
    reasons = [one.reason for one in said if one.reason]
    return Decided(
        session_uid=view.session_uid,
        agent=request.agent,
        round=request.round,
        call_id=request.call_id,
        number=request.number,
        outcome=outcome,
        by=by,
        reason="; ".join(reasons) or (None if by else status.message),
        output=next((one.output for one in said if one.output is not None), None),
    )


def to_approval(found: Mapping[str, Any]) -> ApprovalView | None:
    """Return the view of a SessionApproval; None for one that no session controls.

    Raises:
        ValidationError: This version cannot read it.
    """
    uid = owner_uid(dict(found))
    return None if uid is None else to_view(found, uid)

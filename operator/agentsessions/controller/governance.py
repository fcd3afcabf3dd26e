"""AgentPolicies and SessionApprovals: what the operator keeps of them, and what it writes.

Policies are checked, and told what is wrong in their status; the gateway goes by the same checks. Approvals are made
from what the journal says that waits, and decided here from what people wrote into them. All of it may be done twice.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import structlog
from pydantic import ValidationError

from agentsessions.api.levels import Level
from agentsessions.api.reasons import ConditionType, Reason
from agentsessions.api.v1alpha1.approval import ApprovalRequest, SessionApprovalStatus
from agentsessions.api.v1alpha1.policy import AgentPolicySpec, AgentPolicyStatus
from agentsessions.children.approval import build_approval, to_view
from agentsessions.children.owner import owner_uid
from agentsessions.controller.kinds import AGENT_POLICIES, SESSION_APPROVALS
from agentsessions.controller.levels import GatewayAwayError
from agentsessions.controller.metrics import Metrics
from agentsessions.controller.passes import Passes
from agentsessions.controller.patches import merge_diff
from agentsessions.controller.store import Key, Records
from agentsessions.controller.views import Raw, describe, parse_spec, parse_status
from agentsessions.controller.watched import Watched
from agentsessions.engine.client import Client
from agentsessions.engine.errors import AlreadyExists, Conflict, NotFound
from agentsessions.engine.queue import KeyedQueue
from agentsessions.lifecycle.approvals import ApprovalView, has_strangers, plan
from agentsessions.lifecycle.conditions import build_condition
from agentsessions.lifecycle.facts import JournalView, SessionView
from agentsessions.lifecycle.phases import TERMINAL
from agentsessions.lifecycle.policies import find_problems

POLICY_WORKERS: Final = 1

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """An AgentPolicy as last seen."""

    namespace: str
    name: str
    uid: str
    generation: int
    resource_version: str
    spec: AgentPolicySpec | None
    problem: str
    """Why the spec does not parse; empty when it does."""
    status: AgentPolicyStatus


@dataclass(frozen=True, slots=True)
class ApprovalRecord:
    """A SessionApproval as last seen."""

    uid: str
    resource_version: str
    session_uid: str
    """Empty when no session controls it."""
    view: ApprovalView | None
    """None when this version cannot read it: it is left alone."""


class Approvals(Records[ApprovalRecord]):
    """Approvals by key and by session."""

    def __init__(self) -> None:
        super().__init__(to_approval, lambda record: record)
        self._by_session: dict[str, set[Key]] = {}

    def put(self, raw: dict[str, Any]) -> tuple[ApprovalRecord, bool]:
        """Keep the approval if it is news."""
        record, is_new = super().put(raw)
        key = f"{raw['metadata']['namespace']}/{raw['metadata']['name']}"
        self._by_session.setdefault(record.session_uid, set()).add(key)
        return record, is_new

    def remove(self, key: Key, uid: str | None = None) -> ApprovalRecord | None:
        """Forget the approval."""
        record = super().remove(key, uid)
        if record is not None:
            keys = self._by_session.get(record.session_uid, set())
            keys.discard(key)
            if not keys:
                self._by_session.pop(record.session_uid, None)
        return record

    def of(self, session_uid: str) -> list[ApprovalView]:
        """Return the approvals of a session that can be read."""
        found = (self.get(key) for key in self._by_session.get(session_uid, ()))
        return [record.view for record in found if record is not None and record.view is not None]


class Governance:
    """Both kinds, put together."""

    def __init__(
        self,
        client: Client,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        on_approval: Callable[[str], None],
        fetch_level: Callable[[str], Awaitable[Level | None]],
    ) -> None:
        """Keep nothing yet.

        Args:
            client: Writes.
            metrics: Counts.
            clock: Tells the time.
            on_approval: Told the uid of the session of each approval that changed.
            fetch_level: Reads a session's level from the journal as it now is.
        """
        self._client, self._metrics, self._clock = client, metrics, clock
        self._fetch_level = fetch_level
        self._policy_store: Records[PolicyRecord] = Records(to_policy, lambda record: record)
        self._approval_store = Approvals()
        self._queue = KeyedQueue()
        self.policies = Watched(
            client, AGENT_POLICIES, self._policy_store, on_change=self._queue.add, on_gone=self._forget_policy
        )
        """The stream of AgentPolicies."""
        self.approvals = Watched(
            client,
            SESSION_APPROVALS,
            self._approval_store,
            on_change=lambda key: self._tell(self._approval_store.get(key), on_approval),
            on_gone=lambda _key, record: self._tell(record, on_approval),
        )
        """The stream of SessionApprovals."""
        self._passes = Passes(self._queue, self.check_policy, self.policies.refresh, metrics, clock=clock)

    async def run(self) -> None:
        """Check policies for ever."""
        for key in self._policy_store.all_keys():
            self._queue.add(key)
        await self._queue.work(self._passes.run, POLICY_WORKERS)

    async def apply(self, session: SessionView, journal: JournalView) -> datetime | None:
        """Make the objects that ask about a session's calls, and decide those that are there.

        Args:
            session: Whose calls.
            journal: What is known of them.

        Returns:
            When the next time to decide runs out.

        Raises:
            ApiError: The API server refused, or does not answer.
        """
        known = self._approval_store.of(session.uid)
        level = journal.level
        pending = level.approval_pending if level is not None else []
        if session.is_deleting or not (known or pending):
            return None
        is_over, is_fresh = session.status.phase in TERMINAL, False
        if not is_over and journal.is_reachable and has_strangers(pending, known):
            pending, is_fresh = await self._ask_journal(session.uid, pending)
        wanted = plan(pending, known, is_over=is_over, now=self._clock(), is_fresh=is_fresh)
        for request in wanted.create:
            await self._create(build_approval(session, request))
        for view, status in wanted.statuses:
            await self._write(view, status)
        return wanted.wake_at

    async def _ask_journal(self, session_uid: str, heard: list[ApprovalRequest]) -> tuple[list[ApprovalRequest], bool]:
        """Return what waits as the journal now is, or was last heard of, and which of both."""
        try:
            level = await self._fetch_level(session_uid)
        except GatewayAwayError:
            return heard, False
        return (level.approval_pending if level is not None else []), True

    async def _create(self, body: dict[str, Any]) -> None:
        namespace = body["metadata"]["namespace"]
        try:
            answer = await self._client.create(SESSION_APPROVALS, namespace, body)
        except AlreadyExists:  # an earlier pass made it, and the stream is late
            key = f"{namespace}/{body['metadata']['name']}"
            await self.approvals.refresh(key)
            if self._approval_store.get(key) is None:
                raise  # it went meanwhile: nothing else would ask for it again
            return
        self.approvals.put(answer)
        self._metrics.writes.labels("approval").inc()
        log.info("approval asked", namespace=namespace, approval=body["metadata"]["name"])

    async def _write(self, view: ApprovalView, status: SessionApprovalStatus) -> None:
        patch = merge_diff(view.status.to_json(), status.to_json())
        body = {"metadata": {"resourceVersion": view.resource_version}, "status": patch}
        try:
            answer = await self._client.merge_patch(
                SESSION_APPROVALS, view.namespace, view.name, body, subresource="status"
            )
        except (Conflict, NotFound):  # somebody wrote into it, or it is gone: look again
            await self.approvals.refresh(f"{view.namespace}/{view.name}")
            return
        self.approvals.put(answer)
        self._metrics.writes.labels("approval_status").inc()
        if status.outcome is not None:
            log.info("approval decided", approval=f"{view.namespace}/{view.name}", outcome=status.outcome.value)

    async def check_policy(self, key: Key) -> None:
        """Say in a policy's status whether it can be evaluated.

        Raises:
            ApiError: The status could not be written.
        """
        policy = self._policy_store.get(key)
        if policy is None:
            return
        problem = policy.problem if policy.spec is None else "; ".join(find_problems(policy.spec))
        if problem:
            problem = f"every call of a session that it binds is denied: {problem}"
        condition = build_condition(
            ConditionType.ACCEPTED,
            policy.status.conditions,
            self._clock(),
            is_true=not problem,
            reason=Reason.POLICY_INVALID if problem else Reason.ACCEPTED,
            message=problem,
            generation=policy.generation,
        )
        status = AgentPolicyStatus(observed_generation=policy.generation, conditions=[condition])
        patch = merge_diff(policy.status.to_json(), status.to_json())
        if not patch:
            return
        body = {"metadata": {"resourceVersion": policy.resource_version}, "status": patch}
        answer = await self._client.merge_patch(
            AGENT_POLICIES, policy.namespace, policy.name, body, subresource="status"
        )
        self._policy_store.put(answer)
        self._metrics.writes.labels("policy_status").inc()

    def _forget_policy(self, key: Key, _record: PolicyRecord) -> None:
        self._passes.forget(key)

    @staticmethod
    def _tell(record: ApprovalRecord | None, on_approval: Callable[[str], None]) -> None:
        if record is not None and record.session_uid:
            on_approval(record.session_uid)


def to_policy(raw: Raw) -> PolicyRecord:
    """Read an AgentPolicy."""
    meta = raw["metadata"]
    spec, problem = parse_spec(AgentPolicySpec, raw)
    return PolicyRecord(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        resource_version=meta["resourceVersion"],
        spec=spec,
        problem=problem,
        status=parse_status(AgentPolicyStatus, raw),
    )


def to_approval(raw: Raw) -> ApprovalRecord:
    """Read a SessionApproval."""
    meta, view = raw["metadata"], None
    session_uid = owner_uid(dict(raw)) or ""
    try:
        view = to_view(raw, session_uid)
    except ValidationError as error:
        log.warning("approval not read", namespace=meta["namespace"], approval=meta["name"], problem=describe(error))
    return ApprovalRecord(meta["uid"], meta["resourceVersion"], session_uid, view)

"""Has each act through the gateway recorded once, with the actor whom the API server knows.

A route that does something declares its act: `attempt: Annotated[Attempt, Depends(attempt_of(Act.PAUSE))]`. A refusal
for want of a right is then recorded by itself. What was done the route records:

- in the job that does it: `audit.append(work, attempt.done(row))`;
- for a change of a resource, once the API server has answered: `await attempt.record(attempt.done(...))`.

Who is not known at all does not act: failed authentication is counted and logged, not recorded.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from fastapi import Request

from agentsessions.engine.errors import Forbidden
from agentsessions.gateway.auth import User
from agentsessions.gateway.lookup import TheGateway, TheNamespace, TheUser
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.requests import request_id_of
from agentsessions.gateway.state import Gateway
from agentsessions.journal import audit
from agentsessions.journal.acts import Act, AuditRecord, Door, Verdict
from agentsessions.journal.rows import SessionRow

FORBIDDEN: Final = 403
PATH_PARAMETER: Final = "session"
MOST_NAME: Final = 253


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a caller is about to do."""

    gateway: Gateway
    act: Act
    user: User
    namespace: str
    session: str
    """As the caller wrote it: name, uid or nothing."""
    request_id: str

    def done(
        self,
        row: SessionRow | None = None,
        *,
        uid: str = "",
        name: str = "",
        namespace_uid: str = "",
        generation: int | None = None,
        **detail: Any,
    ) -> AuditRecord:
        """Return the record of the act.

        Args:
            row: The session, where the journal knows it.
            uid: Of the session, where it does not yet.
            name: Likewise.
            namespace_uid: Likewise; `record` looks it up.
            generation: Of the resource after the change, as the API server answered it.
            detail: What else tells it from others; never content.
        """
        return AuditRecord(
            act=self.act,
            by=Door.GATEWAY,
            outcome=Verdict.DONE,
            actor=self.user.name,
            actor_uid=self.user.uid,
            namespace=row.namespace if row else self.namespace,
            namespace_uid=row.namespace_uid if row else namespace_uid,
            session_uid=row.uid if row else uid,
            session_name=row.name if row else (name or self.session),
            request_id=self.request_id,
            generation=generation,
            detail=detail,
        )

    async def record(self, record: AuditRecord) -> None:
        """Write a record; on return it is there for good."""
        if not record.namespace_uid and record.namespace:
            found = await self.gateway.watch.namespace_uid(record.namespace)
            record = replace(record, namespace_uid=found or "")
        await self.gateway.store.write(lambda work: audit.append(work, record))

    async def record_refusal(self, code: str) -> None:
        """Record that the caller had no right to the act."""
        await self.record(replace(self.done(), outcome=Verdict.REFUSED, code=code))


def attempt_of(act: Act) -> Callable[..., AsyncIterator[Attempt]]:
    """Return a FastAPI dependency that gives the attempt at an act, and records its refusal (403)."""

    async def attempt(
        request: Request, gateway: TheGateway, user: TheUser, namespace: TheNamespace
    ) -> AsyncIterator[Attempt]:
        session = str(request.path_params.get(PATH_PARAMETER, ""))[:MOST_NAME]
        one = Attempt(gateway, act, user, namespace, session, request_id_of(request))
        try:
            yield one
        except ProblemError as problem:
            if problem.status == FORBIDDEN:
                await one.record_refusal(problem.code)
            raise
        except Forbidden:
            await one.record_refusal(ProblemCode.FORBIDDEN.value)
            raise

    attempt.__dict__[ACT] = act
    return attempt


ACT: Final = "act"
"""Where a dependency keeps its act: a test finds routes without one."""

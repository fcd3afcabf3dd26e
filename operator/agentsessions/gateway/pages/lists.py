"""The list of sessions: those that need a person, then the rest; what it shows is in its address."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import Depends, Query, Request
from fastapi.responses import Response

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.session import SessionType
from agentsessions.gateway.auth import User
from agentsessions.gateway.lookup import DEFAULT_NAMESPACE, NAMESPACES_PATTERN, TheGateway, TheUser
from agentsessions.gateway.pages import summary
from agentsessions.gateway.pages.render import PART, answer_page
from agentsessions.gateway.routes.lists import WORD, within
from agentsessions.gateway.state import Gateway
from agentsessions.journal.lists import ListedSession, read_page
from agentsessions.journal.session_query import MAX_OFFSET, SessionQuery

PAGE: Final = 50
"""Sessions of one page."""
MOST_STOPPED: Final = 200
"""Stopped sessions that are looked through for those that need a person."""
ANY: Final = ""


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list shows, as its address says."""

    namespace: str
    phase: str
    type: str
    text: str
    is_with_deleted: bool
    offset: int

    @property
    def is_narrow(self) -> bool:
        """Whether it leaves out sessions that are there."""
        return bool(self.phase or self.type or self.text)

    def url(self, **changes: Any) -> str:
        """Return the query of the same list with something changed."""
        values = {"namespace": self.namespace, "phase": self.phase, "type": self.type, "text": self.text}
        values |= {"deleted": "1" if self.is_with_deleted else "", "offset": self.offset or ""} | changes
        return "?" + urlencode({name: str(value) for name, value in values.items() if value})

    def to_query(self) -> SessionQuery:
        """Return the query, before it is kept to what the caller may list."""
        return SessionQuery(
            phases=(self.phase,) if self.phase else (),
            type=self.type or None,
            text=self.text or None,
            include_deleted=self.is_with_deleted,
            limit=PAGE,
            offset=self.offset,
        )


async def filters_of(
    user: TheUser,
    namespace: Annotated[str, Query(pattern=f"{NAMESPACES_PATTERN}|^$")] = ANY,
    phase: Annotated[str, Query(pattern=f"^({'|'.join(Phase)})?$")] = ANY,
    type: Annotated[str, Query(pattern=f"^({'|'.join(SessionType)})?$")] = ANY,  # noqa: A002 - its name in the address
    text: Annotated[str, Query(max_length=256, pattern=WORD)] = ANY,
    deleted: Annotated[str, Query(pattern="^(1|on)?$")] = ANY,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Filters:
    """Return what the address asks for (a FastAPI dependency); forms send what was left empty, too."""
    return Filters(namespace or home_of(user), phase, type, text, bool(deleted), offset)


def home_of(user: User) -> str:
    """Return the namespace to begin with: a service account's own, which is often the only one that it may look at."""
    is_account = user.name.startswith(summary.ACCOUNT_PREFIX)
    return summary.to_person(user.name).partition("/")[0] if is_account else DEFAULT_NAMESPACE


async def show_list(
    request: Request, gateway: TheGateway, user: TheUser, filters: Annotated[Filters, Depends(filters_of)]
) -> Response:
    """Show sessions (needs `list` on `agentsessions`)."""
    query = await within(gateway, user, filters.namespace, filters.to_query())
    page = await gateway.store.read(read_page, query)
    template = "_rows.html" if PART in request.headers else "list.html"
    return await answer_page(
        request,
        template,
        filters=filters,
        needed=[] if filters.offset else await _find_needed(gateway, query),
        page=page,
        size=PAGE,
        user=user,
        phases=list(Phase),
        types=list(SessionType),
    )


async def _find_needed(gateway: Gateway, query: SessionQuery) -> list[ListedSession]:
    phases = [phase.value for phase in summary.STOPPED if query.phases in {(), (phase.value,)}]
    if not phases:
        return []
    stopped = replace(query, phases=tuple(phases), limit=MOST_STOPPED, include_deleted=False, namespace_uid=None)
    page = await gateway.store.read(read_page, stopped)
    return [row for row in page.items if summary.needs_person(row)]

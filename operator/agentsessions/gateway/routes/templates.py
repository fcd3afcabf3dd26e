"""Templates that sessions may start from, as the API server shows them to who asks. They are made by manifest."""

from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query

from agentsessions.api.model import ApiModel
from agentsessions.api.names import GROUP, VERSION
from agentsessions.engine.errors import ApiError
from agentsessions.engine.resources import Resource
from agentsessions.gateway import paths
from agentsessions.gateway.callers import TheCaller
from agentsessions.gateway.lookup import ALL_NAMESPACES, TheGateway, TheNamespaces
from agentsessions.gateway.resource_acts import Json, to_problem
from agentsessions.gateway.routes.sessions import Limit
from agentsessions.journal.session_query import MAX_OFFSET

TEMPLATE: Final = Resource(GROUP, VERSION, "agentsessiontemplates", "AgentSessionTemplate")

router = APIRouter(prefix=paths.TEMPLATES, tags=["templates"])


class TemplateAnswer(ApiModel):
    """A spec to start sessions from: name it in a new session's `templateRef`."""

    name: str
    """Its name."""
    namespace: str
    """Its namespace."""
    created_at: datetime
    """When it was created (UTC)."""
    session: dict[str, Any]
    """Fields of the sessions' spec."""
    overridable: list[str]
    """Fields that a session may set although the template sets them."""
    env: dict[str, str]
    """Environment of every agent."""


class TemplateList(ApiModel):
    """One page of templates, by namespace and name."""

    items: list[TemplateAnswer]
    """The page."""
    total: int
    """Templates on all pages."""
    limit: int
    """Most items of a page."""
    offset: int
    """Templates before this page."""


@router.get("")
async def list_templates(
    gateway: TheGateway,
    caller: TheCaller,
    namespace: TheNamespaces,
    limit: Limit = 100,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="Templates before the page.")] = 0,
) -> TemplateList:
    """List templates of a namespace, or with `*` of all (needs `list` on `agentsessiontemplates`)."""
    where = None if namespace == ALL_NAMESPACES else namespace
    await gateway.auth.require(caller.user, "list", TEMPLATE.plural, where or "")
    try:
        listed = await gateway.callers.client(caller.token).list_all(TEMPLATE, to_answer, where)
    except ApiError as error:
        raise to_problem(error, "list", TEMPLATE.plural) from error
    found = sorted(listed.items, key=lambda one: (one.namespace, one.name))
    return TemplateList(items=found[offset : offset + limit], total=len(found), limit=limit, offset=offset)


def to_answer(found: Json) -> TemplateAnswer:
    """Return a template as it is shown."""
    metadata, spec = found["metadata"], found["spec"]
    return TemplateAnswer(
        name=metadata["name"],
        namespace=metadata["namespace"],
        created_at=metadata["creationTimestamp"],
        session=spec["session"],
        overridable=spec.get("overridable") or [],
        env={one["name"]: one.get("value", "") for one in spec.get("env") or ()},
    )

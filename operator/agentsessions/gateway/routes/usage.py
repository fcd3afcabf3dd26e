"""What the operator holds against a namespace's quotas: today's spending, for its own service account alone."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query

from agentsessions.api.spending import USAGE_PATH, DayUsage
from agentsessions.gateway.lookup import TheGateway
from agentsessions.gateway.routes.levels import require_operator

MOST_NAMESPACES: Final = 100

router = APIRouter(prefix=USAGE_PATH, dependencies=[Depends(require_operator)], include_in_schema=False)


@router.get("")
async def get_usage(
    gateway: TheGateway, namespace: Annotated[list[str], Query(min_length=1, max_length=MOST_NAMESPACES)]
) -> DayUsage:
    """Return what each of the namespaces was charged since midnight UTC, as the journal has it at this moment."""
    return await gateway.store.spent_today(namespace)

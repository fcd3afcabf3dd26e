"""Which of two replicas acts, and the end of one that lost that right."""

import os
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Final, NoReturn
from uuid import uuid4

import structlog

from agentsessions.api import names
from agentsessions.controller.settings import Settings
from agentsessions.engine.client import Client
from agentsessions.engine.lease import Lease, LeaseLostError

EXIT_LOST: Final = 3
"""Exit code of a process that lost the Lease."""

log = structlog.get_logger(__name__)


class Role(StrEnum):
    """What a replica does."""

    STARTING = "starting"
    """It does not know enough yet."""
    STANDBY = "standby"
    """It watches, writes nothing, and could take over at once."""
    LEADING = "leading"
    """It acts."""


def end_process(error: LeaseLostError) -> NoReturn:
    """End the process at this very moment: nothing that is under way may go on, no clean-up either."""
    log.critical("lease lost; ending at once", error=str(error))
    sys.stdout.flush()
    os._exit(EXIT_LOST)


class Leadership:
    """The operator's Lease."""

    def __init__(self, lease: Lease, *, on_lost: Callable[[LeaseLostError], NoReturn] = end_process) -> None:
        self._lease = lease
        self._on_lost = on_lost

    @property
    def problem(self) -> str:
        """Why the Lease cannot be reached; empty when it can."""
        return self._lease.problem

    def age(self) -> float:
        """Return the seconds since the Lease was last seen to be renewed."""
        return self._lease.age_seconds

    async def await_turn(self) -> None:
        """Return once this replica may act; `keep` must follow at once."""
        await self._lease.acquire()

    async def keep(self) -> NoReturn:
        """Keep the right to act for as long as this process lives."""
        try:
            await self._lease.keep()
        except LeaseLostError as error:
            self._on_lost(error)

    async def hand_over(self) -> None:
        """Let the other replica act. Call it when nothing of this one acts any more."""
        await self._lease.release()


def build_leadership(settings: Settings, client: Client) -> Leadership:
    """Return the right to act, shared by all replicas of the installation. The client should be its own."""
    identity = f"{settings.pod_name}_{uuid4()}"
    return Leadership(Lease(client, namespace=settings.namespace, name=names.MANAGER, identity=identity))

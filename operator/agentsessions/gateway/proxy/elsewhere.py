"""Purchases that another gateway of the same journal makes: waited for through the journal, never made twice."""

from typing import Final

from agentsessions.api.reasons import ErrorCode
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.streams import Changes
from agentsessions.journal.charges import CallState
from agentsessions.journal.rows import PodIdentity
from agentsessions.journal.store import Store
from agentsessions.journal.under_way import count_open, read_end

LOOK_SECONDS: Final = 15.0
"""Each commit to the session ends a wait. This is for one whose news was lost."""
_FAULTS: Final = frozenset(code.value for code in ErrorCode)


class Elsewhere:
    """What the journal says of purchases of other processes."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    async def wait(self, pod: PodIdentity, call_id: int) -> None:
        """Wait until a purchase is over, and may be asked for again: it is then served, or there is room to buy it.

        Raises:
            ModelFault: It failed, and it was this pod that asked: the pod hears what it would have heard there.
        """
        with self._changes.listen(pod.session_uid) as listener:
            while (end := await self._store.read(read_end, call_id)) is None:
                await listener.wait(LOOK_SECONDS)
        if end.state is CallState.FAILED and end.epoch == pod.epoch and end.code in _FAULTS:
            raise ModelFault(ErrorCode(end.code), end.message or "The model call failed.")

    async def wait_for_all(self, session_uid: str) -> None:
        """Wait until nothing is being bought for a session."""
        with self._changes.listen(session_uid) as listener:
            while await self._store.read(count_open, session_uid):
                await listener.wait(LOOK_SECONDS)

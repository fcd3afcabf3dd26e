"""Purchases that another gateway of the same journal makes: waited for through the journal, never made twice."""

from collections.abc import Mapping
from typing import Final

from agentsessions.api.reasons import LIMIT_CODES, ErrorCode, LimitName
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.streams import Changes
from agentsessions.journal import calls
from agentsessions.journal.charges import CallState
from agentsessions.journal.refusals import LimitReached
from agentsessions.journal.rows import PodIdentity, Replay
from agentsessions.journal.store import Store
from agentsessions.journal.under_way import count_open, read_end

LOOK_SECONDS: Final = 15.0
"""Each commit to the session ends a wait. This is for one whose news was lost."""
_LIMITS: Final[Mapping[str | None, LimitName]] = {code.value: limit for limit, code in LIMIT_CODES.items()}
_FAULTS: Final = frozenset(code.value for code in ErrorCode)


class Elsewhere:
    """What the journal says of purchases of other processes."""

    def __init__(self, store: Store, changes: Changes) -> None:
        self._store = store
        self._changes = changes

    async def join(self, pod: PodIdentity, call_id: int) -> Replay | LimitReached | None:
        """Wait until a purchase is over, and return what it brought; None when it may be made again.

        Raises:
            ModelFault: It failed, and it was this pod that asked: the pod hears what it would have heard there.
        """
        with self._changes.listen(pod.session_uid) as listener:
            while (end := await self._store.read(read_end, call_id)) is None:
                await listener.wait(LOOK_SECONDS)
        if end.state is CallState.FAILED and end.epoch == pod.epoch:
            if end.code in _LIMITS:
                return LimitReached(_LIMITS[end.code], end.message or "")
            if end.code in _FAULTS:
                raise ModelFault(ErrorCode(end.code), end.message or "")
        return await self._store.write(lambda work: calls.join(work, pod, call_id))

    async def wait_for_all(self, session_uid: str) -> None:
        """Wait until nothing is being bought for a session."""
        with self._changes.listen(session_uid) as listener:
            while await self._store.read(count_open, session_uid):
                await listener.wait(LOOK_SECONDS)

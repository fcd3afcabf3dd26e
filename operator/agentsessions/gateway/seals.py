"""Verifies and seals the journals of sessions whose type asks for it, once their last answer is there."""

from functools import partial
from typing import Final

import structlog

from agentsessions.journal import seals
from agentsessions.journal.store import Store
from agentsessions.journal.verification import read_anchor, read_anchor_problems

TRIES: Final = 5
"""Entries that come between reading and sealing are about the session's end: few, and soon over."""

log = structlog.get_logger(__name__)


async def ensure_seal(store: Store, uid: str) -> None:
    """Seal a session's journal if it is to be sealed, and is not yet."""
    for _ in range(TRIES):
        head = await store.read(seals.read_unsealed, uid)
        if head is None:
            return
        problems = await store.verify(uid)
        anchor = await store.read(read_anchor, uid)
        problems += await store.read(read_anchor_problems, uid, [anchor] if anchor else [])
        if await store.write(partial(seals.seal, uid=uid, verified=head, problems=problems)):
            log.info("journal sealed", session=uid, head=head.seq, problems=len(problems))
            return

"""The operator's stream: how each session stands in the journal, one JSON object a line."""

import time
from collections.abc import AsyncGenerator
from typing import Final

import orjson

from agentsessions.api.levels import LevelLine
from agentsessions.gateway.metrics import LEVELS_SENT
from agentsessions.gateway.streams import Changes
from agentsessions.journal.store import Store

MEDIA_TYPE: Final = "application/x-ndjson"
PING_SECONDS: Final = 10.0


async def stream_levels(store: Store, changes: Changes, *, ping_seconds: float = PING_SECONDS) -> AsyncGenerator[bytes]:
    """Yield all open levels, `synced`, then each level that changes; a newer one replaces an older one whole.

    Args:
        store: The journal.
        changes: Wakes the stream. It listens before the first level is read, so no change is missed.
        ping_seconds: Time between two pings; they come also while levels do, as the operator counts on them.
    """
    with changes.listen_to_all() as listener:
        for level in await store.open_levels():
            yield to_line(LevelLine(level=level))
            LEVELS_SENT.inc()
        yield to_line(LevelLine(synced=True))
        ping_at = time.monotonic() + ping_seconds
        while not changes.is_stopping:
            for uid in await listener.wait(max(0.0, ping_at - time.monotonic())):
                changed = await store.level_if_there(uid)
                if changed is not None:  # of what is gone the operator would keep the level for ever
                    yield to_line(LevelLine(level=changed))
                    LEVELS_SENT.inc()
            if time.monotonic() >= ping_at:
                ping_at = time.monotonic() + ping_seconds
                yield to_line(LevelLine(ping=True))


def to_line(line: LevelLine) -> bytes:
    """Return a line of the stream."""
    return orjson.dumps(line.to_json(), option=orjson.OPT_APPEND_NEWLINE)

"""A runner that has nothing to play: its request is held until there is something, and the journal is not polled.

Whatever may end the wait is a commit to the session: a message, a changed spec (pause, cancel, a conversation that is
closed), another pod in its place, its deletion. What comes by time alone says when.
"""

import time
from typing import TYPE_CHECKING, Final

from agentsessions.api.wire import Control, Turn
from agentsessions.gateway.problems import unavailable
from agentsessions.gateway.proxy.turns import pin_turn
from agentsessions.journal.rows import PodIdentity

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway

HOLD_SECONDS: Final = 20.0
"""Longest wait of one request; runners give up an answer after 60 s, and so do proxies."""


async def wait_for_turn(gateway: "Gateway", pod: PodIdentity) -> Turn:
    """Return the turn to play, or after `HOLD_SECONDS` the turn to wait for.

    Raises:
        ProblemError: As `pin_turn`; 503 when the gateway is stopping: the next one answers.
        Refusal: As `pin_turn`.
    """
    hold_until = time.monotonic() + HOLD_SECONDS
    with gateway.changes.listen(pod.session_uid) as listener:
        while True:
            turn, seconds = await pin_turn(gateway, pod)
            left = hold_until - time.monotonic()
            if turn.control is not Control.WAIT or left <= 0:
                return turn
            if gateway.changes.is_stopping:
                raise unavailable("The gateway is stopping; there is nothing to play yet. Ask again.")
            await listener.wait(min(left, seconds))

"""Text of answers under way, for those who watch at that moment. Never stored, and the first thing to be dropped.

Pieces come from providers by the word; they leave together, `FLUSH_SECONDS` after the first of them, and not at all
when the answer has ended by then: nothing is told as under way behind the entry that holds it. `offset` is the number
of characters of the answer before a delta, so that a client sees what it missed, and `attempt` goes up when an answer
begins again; the whole answer follows as an entry in any case.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

from agentsessions.gateway.frames import DELTA, of_data
from agentsessions.gateway.proxy.seller import Order
from agentsessions.gateway.tails import Tails

FLUSH_SECONDS: Final = 0.1


class AnswerUnderWay:
    """One try at an answer."""

    def __init__(self, tails: Tails, order: Order, attempt: int) -> None:
        self._tails = tails
        self._order = order
        self._attempt = attempt
        self._pieces: list[str] = []
        self._flushing: asyncio.TimerHandle | None = None
        self._offset = 0

    def add(self, text: str) -> None:
        """Take the next piece of the text."""
        if not self._tails.is_watched(self._order.session_uid):
            self._offset += len(text)
            return
        if not self._pieces:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)
        self._pieces.append(text)

    def end(self) -> None:
        """Tell nothing more."""
        if self._flushing is not None:
            self._flushing.cancel()

    def _flush(self) -> None:
        text = "".join(self._pieces)
        self._pieces.clear()
        body = {
            "agent": self._order.agent,
            "step": self._order.step,
            "attempt": self._attempt,
            "offset": self._offset,
            # Half a character may come in each of two pieces.
            "text": text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"),
        }
        self._offset += len(text)
        self._tails.add_delta(self._order.session_uid, of_data(DELTA, body))


def teller(tails: Tails) -> Callable[[Order, int], AbstractContextManager[Callable[[str], None]]]:
    """Return what gives each try of an order somewhere to tell its text, as long as it lasts."""

    @contextmanager
    def tell(order: Order, attempt: int) -> Iterator[Callable[[str], None]]:
        under_way = AnswerUnderWay(tails, order, attempt)
        try:
            yield under_way.add
        finally:
            under_way.end()

    return tell

"""Text that fits: the beginning and the end are kept, the middle goes, and a note says so."""

from typing import Final

NOTE_BYTES: Final = 128
"""Room for the note, and for what replaces characters cut in two."""
REPLACEMENT: Final = "\ufffd"


class HeadTail:
    """Collects bytes without ever holding more than `limit_bytes` of them."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._half = (limit_bytes - NOTE_BYTES) // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Add bytes at the end."""
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        excess = len(self._head) + len(self._tail) - self._limit
        if excess > 0:
            del self._tail[:excess]
            self._dropped += excess

    def text(self) -> str:
        """Return what was collected; bytes that are not UTF-8 are replaced."""
        if not self._dropped:
            return (self._head + self._tail).decode("utf-8", "replace")
        dropped = self._dropped + len(self._tail) - self._half
        note = f"\n[... {dropped} bytes left out here, {self._limit} are shown at most ...]\n"
        return self._head.decode("utf-8", "replace") + note + self._tail[-self._half :].decode("utf-8", "replace")


def shorten(text: str, limit_bytes: int) -> str:
    """Return `text` in at most `limit_bytes` of UTF-8, storable everywhere: no NUL, no half of a surrogate pair."""
    collected = HeadTail(limit_bytes)
    collected.feed(text.replace("\0", REPLACEMENT).encode("utf-8", "replace"))
    return collected.text()

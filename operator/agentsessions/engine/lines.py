"""Splits a stream of bytes into lines of any length.

The readline of aiohttp gives up at 64 KiB; one event of a watch may hold an object of more than 1 MiB.
"""


class LineSplitter:
    """Collects chunks as they come, and gives out lines when they are whole."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []  # joined once per line: a long line costs its length, not its square

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that `chunk` completes, without their ends and without empty ones."""
        first, *others = chunk.split(b"\n")
        self._rest.append(first)
        if not others:
            return []
        lines = [b"".join(self._rest), *others[:-1]]
        self._rest = [others[-1]]
        return [line for line in lines if line]

    @property
    def has_rest(self) -> bool:
        """Whether the stream stands in the middle of a line."""
        return any(self._rest)

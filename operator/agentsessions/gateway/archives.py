"""Sessions as files: compressed and read piece by piece, so that no session is ever whole in memory."""

import io
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import IO, Final

import zstandard
from starlette.exceptions import HTTPException

from agentsessions.journal.archive import (
    MAX_LINE_BYTES,
    TABLES,
    ArchiveRefused,
    place_of,
    read_header,
    read_lines,
    to_line,
)
from agentsessions.journal.store import Store, utc_now

MEDIA_TYPE: Final = "application/zstd"
MAX_FILE_BYTES: Final = 32 * 1024 * 1024
"""Of an imported file, compressed: half of what the container has for files that pass."""
MAX_CONTENT_BYTES: Final = 1024 * 1024 * 1024
MAX_WINDOW_BYTES: Final = 128 * 1024 * 1024
"""What a file may make the decompressor keep."""
PIECE_BYTES: Final = 65_536


async def write_archive(store: Store, uid: str) -> AsyncGenerator[bytes]:
    """Yield a session as a compressed file. What is written to the journal meanwhile is left out."""
    compressor = zstandard.ZstdCompressor().compressobj()
    async for line in _lines(store, uid):
        if piece := compressor.compress(line):
            yield piece
    yield compressor.flush()


async def _lines(store: Store, uid: str) -> AsyncIterator[bytes]:
    yield to_line(await store.read(read_header, uid, utc_now()))
    rows, head = 0, 0
    for table in TABLES:
        place = None
        while page := await store.read(read_lines, uid, table, place):
            for line in page:
                if table.name == "usage":
                    head = line["row"]["head"]
                if table.name != "entries" or line["row"]["seq"] <= head:
                    rows += 1
                    yield to_line(line)
            place = place_of(table, page[-1])
    yield to_line({"end": {"rows": rows}})


async def receive_file(body: AsyncIterator[bytes], file: IO[bytes]) -> None:
    """Write a request's body to a file.

    Raises:
        HTTPException: 413.
    """
    size = 0
    async for piece in body:
        size += len(piece)
        if size > MAX_FILE_BYTES:
            raise HTTPException(413, f"the file is larger than {MAX_FILE_BYTES} bytes, the most allowed")
        file.write(piece)


def read_file(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a compressed file, from its beginning.

    Raises:
        ArchiveRefused: It is not compressed as ours are, or too large.
    """
    file.seek(0)
    decompressor = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW_BYTES)
    content, size = io.BufferedReader(decompressor.stream_reader(file, closefd=False), PIECE_BYTES), 0
    try:
        while line := content.readline(MAX_LINE_BYTES):
            size += len(line)
            if size > MAX_CONTENT_BYTES:
                raise ArchiveRefused(f"the file holds more than {MAX_CONTENT_BYTES} bytes, the most allowed")
            yield line
    except zstandard.ZstdError as error:
        raise ArchiveRefused(f"the file is not compressed with zstd, or damaged: {error}") from error

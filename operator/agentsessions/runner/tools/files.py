"""The tool `files`: list, read, write and delete in the workspace."""

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from agentsessions.api.wire import READING_OPERATIONS, SideEffect
from agentsessions.runner.tools.confined import Confined
from agentsessions.runner.tools.durable import DEFAULT_MODE, write_durably
from agentsessions.runner.tools.tool import ToolFailedError

MAX_READ_BYTES: Final = 60_000
"""What one read returns; below the size of a tool result, so that a result is never shortened unseen."""
MAX_WRITE_CHARACTERS: Final = 200_000
"""What one write takes; arguments of a call have at most 262,144 characters, JSON's escapes included."""
MAX_ENTRIES: Final = 500


DESCRIPTION: Final = (
    "List, read, write or delete files in the workspace. Paths are relative to it. "
    "list: the entries of a folder. read: text of a file, at most 60000 bytes from offset on. "
    "write: replace a file with content; missing folders are made. delete: remove a file or an empty folder."
)
READING_DESCRIPTION: Final = (
    "List or read files in the workspace. Paths are relative to it. "
    "list: the entries of a folder. read: text of a file, at most 60000 bytes from offset on."
)
PATH: Final = {"type": "string", "maxLength": 1024, "description": "Relative path; '.' is the workspace itself."}
OFFSET: Final = {"type": "integer", "minimum": 0, "description": "For read: where to begin, in bytes."}
PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "operation": {"type": "string", "enum": ["list", "read", "write", "delete"]},
        "path": PATH,
        "content": {"type": "string", "maxLength": MAX_WRITE_CHARACTERS, "description": "For write: the new text."},
        "offset": OFFSET,
    },
    "required": ["operation", "path"],
    "additionalProperties": False,
}
READING_PARAMETERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "operation": {"type": "string", "enum": sorted(READING_OPERATIONS)},
        "path": PATH,
        "offset": OFFSET,
    },
    "required": ["operation", "path"],
    "additionalProperties": False,
}


class Files:
    """Works on files below a folder, and nowhere else.

    A read-only one lists and reads: its parameters, which calls are checked against before it runs, say no more.
    """

    name: Final = "files"

    def __init__(self, root: Path, *, hidden: str, is_read_only: bool = False) -> None:
        self._confined = Confined(root, hidden=hidden)
        self._hidden = hidden
        self.description = READING_DESCRIPTION if is_read_only else DESCRIPTION
        self.parameters = READING_PARAMETERS if is_read_only else PARAMETERS
        self.side_effect = SideEffect.NONE if is_read_only else SideEffect.INTERNAL

    async def run(self, arguments: Mapping[str, Any]) -> str:
        """Do one operation."""
        return await asyncio.to_thread(self._operate, arguments)

    def _operate(self, arguments: Mapping[str, Any]) -> str:
        operation, path = arguments["operation"], arguments["path"]
        try:
            match operation:
                case "list":
                    return self._list(path)
                case "read":
                    return self._read(path, arguments.get("offset", 0))
                case "write":
                    return self._write(path, arguments.get("content"))
                case _:
                    return self._delete(path)
        except OSError as error:
            raise ToolFailedError(f"{operation} {path!r}: {error.strerror or error}") from error

    def _list(self, path: str) -> str:
        parts = self._confined.resolve(path)
        with self._confined.folder(parts) as folder:
            names = sorted(name for name in os.listdir(folder) if parts or name != self._hidden)  # noqa: PTH208 - a descriptor, not a path
            lines = [to_line(name, os.stat(name, dir_fd=folder, follow_symlinks=False)) for name in names[:MAX_ENTRIES]]
        if len(names) > MAX_ENTRIES:
            lines.append(f"[{len(names) - MAX_ENTRIES} more entries; {MAX_ENTRIES} are listed at most]")
        return "\n".join(lines) or "[empty folder]"

    def _read(self, path: str, offset: int) -> str:
        parts = self._file(path)
        with self._confined.folder(parts[:-1]) as folder:
            # A pipe must not block, a device must not be read.
            opened = os.open(parts[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                found = os.fstat(opened)
                if not stat.S_ISREG(found.st_mode):
                    raise ToolFailedError(f"read {path!r}: it is {to_kind(found)}, not a file")
                data = os.pread(opened, MAX_READ_BYTES, offset)
            finally:
                os.close(opened)
        if b"\0" in data:
            raise ToolFailedError(f"read {path!r}: it is not text ({found.st_size} bytes); use a program that knows it")
        rest = found.st_size - offset - len(data)
        note = f"\n[{rest} more bytes; read again with offset {offset + len(data)}]" if rest > 0 else ""
        return data.decode("utf-8", "replace") + note

    def _write(self, path: str, content: str | None) -> str:
        if content is None:
            raise ToolFailedError(f"write {path!r}: 'content' is missing; give the whole new text of the file")
        parts = self._file(path)
        data = content.encode("utf-8", "replace")
        with self._confined.folder(parts[:-1], create=True) as folder:
            write_durably(folder, parts[-1], data, mode=mode_of(folder, parts[-1]))
        return f"{len(data)} bytes written to {'/'.join(parts)}"

    def _delete(self, path: str) -> str:
        parts = self._file(path, follow=False)
        with self._confined.folder(parts[:-1]) as folder:
            if stat.S_ISDIR(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False).st_mode):
                os.rmdir(parts[-1], dir_fd=folder)
            else:
                os.unlink(parts[-1], dir_fd=folder)
        return f"{'/'.join(parts)} deleted"

    def _file(self, path: str, *, follow: bool = True) -> tuple[str, ...]:
        parts = self._confined.resolve(path, follow=follow)
        if not parts:
            raise ToolFailedError(f"{path!r} is the workspace itself; give a path in it")
        return parts


def mode_of(folder: int, name: str) -> int:
    """Return the permissions that a file keeps when it is replaced."""
    try:
        return stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return DEFAULT_MODE


def to_kind(found: os.stat_result) -> str:
    """Return what an entry is, in words."""
    if stat.S_ISDIR(found.st_mode):
        return "a folder"
    return "a link" if stat.S_ISLNK(found.st_mode) else "a special file"


def to_line(name: str, found: os.stat_result) -> str:
    """Return an entry as one line."""
    if stat.S_ISREG(found.st_mode):
        return f"{name} ({found.st_size} bytes)"
    return f"{name}/" if stat.S_ISDIR(found.st_mode) else f"{name} ({to_kind(found)})"

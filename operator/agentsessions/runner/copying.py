"""Copies a workspace from one volume to another, before the agent starts.

Nobody else writes to either volume meanwhile. A marker, written last, says that the copy is whole: with it nothing is
done again, since the agent may have written since; without it, what an earlier try left is removed first.
"""

import argparse
import errno
import hashlib
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentsessions.runner.tools.durable import write_durably

MARKER_DIR: Final = ".agentsessions"
"""The runner's own folder."""
MARKER: Final = "copied-from"
LOST_AND_FOUND: Final = "lost+found"
"""Of the file system, not of the workspace."""
BLOCK_BYTES: Final = 1 << 20
MODE_BITS: Final = 0o777
"""What is kept of a mode: no set-user-id."""


class CopyError(Exception):
    """The files cannot be copied; the text says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to."""

    files: int
    size_bytes: int
    digest: str
    """SHA-256 (hex) over paths, modes and contents."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree."""

    path: str
    """Relative to the tree."""
    kind: str
    """d, f or l; others (pipes, sockets, devices) are left out."""
    mode: int
    size_bytes: int
    modified_ns: int


def copy_workspace(source: Path, target: Path, name: str, *, has_private: bool = True) -> Copied | None:
    """Fill `target` with what is in `source`; None when that was done before.

    Args:
        source: The former workspace.
        target: The new one.
        name: Claim of the source; the marker has it.
        has_private: Whether what the runner keeps there for itself is copied: results of calls of the same session.

    Raises:
        CopyError: Something cannot be read or written, or the copy differs.
    """
    try:
        if _is_marked(target, name):
            return None
        _clear(target)
        entries = list(iter_entries(source, has_private=has_private))
        for entry in entries:
            _copy(source, target, entry)
        for entry in reversed(entries):  # folders last, from the deepest: what is put into one changes its time
            if entry.kind == "d":
                _finish(target / entry.path, entry)
        os.sync()
        digest = tree_digest(source, has_private=has_private)
        if tree_digest(target) != digest:
            raise CopyError("the copy differs from what was copied: somebody writes there, or a volume is broken")
        _mark(target, name)
    except OSError as error:
        raise CopyError(_explain(error, source)) from error
    files = [entry for entry in entries if entry.kind == "f"]
    return Copied(len(files), sum(entry.size_bytes for entry in files), digest)


def iter_entries(root: Path, *, has_private: bool = True) -> Iterator[Entry]:
    """Yield what is below a folder, each folder before what it holds; links are not followed."""
    folders, left_out = [""], {LOST_AND_FOUND} if has_private else {LOST_AND_FOUND, MARKER_DIR}
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as found:
            items = sorted(found, key=lambda item: item.name)
        for item in items:
            path = f"{folder}/{item.name}" if folder else item.name
            if path in left_out:
                continue
            told = item.stat(follow_symlinks=False)
            kind = {stat.S_IFDIR: "d", stat.S_IFREG: "f", stat.S_IFLNK: "l"}.get(stat.S_IFMT(told.st_mode))
            if kind is None:
                continue
            if kind == "d":
                folders.append(path)
            size = told.st_size if kind == "f" else 0
            yield Entry(path, kind, told.st_mode & MODE_BITS, size, told.st_mtime_ns)


def tree_digest(root: Path, *, has_private: bool = True) -> str:
    """Return the SHA-256 (hex) over paths, kinds, modes and contents of a tree."""
    whole = hashlib.sha256()
    for entry in sorted(iter_entries(root, has_private=has_private), key=lambda one: one.path):
        mode = 0 if entry.kind == "l" else entry.mode
        content = "" if entry.kind == "d" else _content_digest(root / entry.path, entry.kind)
        whole.update(f"{entry.kind} {mode:o} {content} ".encode() + os.fsencode(entry.path) + b"\0")
    return whole.hexdigest()


def _content_digest(path: Path, kind: str) -> str:
    if kind == "l":
        return hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path, entry: Entry) -> None:
    there = target / entry.path
    if entry.kind == "d":
        there.mkdir(mode=0o700)
    elif entry.kind == "l":
        there.symlink_to((source / entry.path).readlink())
    else:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(source / entry.path, flags), "rb") as old, there.open("xb") as new:
            shutil.copyfileobj(old, new, BLOCK_BYTES)
        _finish(there, entry)


def _finish(there: Path, entry: Entry) -> None:
    there.chmod(entry.mode)
    os.utime(there, ns=(entry.modified_ns, entry.modified_ns))


def _clear(target: Path) -> None:
    """Remove what an earlier try left."""
    for item in target.iterdir():
        if item.name == LOST_AND_FOUND:
            continue
        if item.is_dir() and not item.is_symlink():
            _open_up(item)
            shutil.rmtree(item)
        else:
            item.unlink()


def _open_up(folder: Path) -> None:
    """Let folders that were copied with a mode that forbids it be emptied."""
    folder.chmod(0o700)
    for entry in iter_entries(folder):
        if entry.kind == "d":
            (folder / entry.path).chmod(0o700)


def _is_marked(target: Path, name: str) -> bool:
    try:
        return (target / MARKER_DIR / MARKER).read_text().strip() == name
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return False


def _mark(target: Path, name: str) -> None:
    folder = target / MARKER_DIR
    folder.mkdir(exist_ok=True)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_durably(opened, MARKER, f"{name}\n".encode())
    finally:
        os.close(opened)


def _explain(error: OSError, source: Path) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the new volume is full: give spec.workspace a larger size"
    where = str(error.filename or source)
    return f"{where} cannot be copied ({error.strerror}): let an agent make it readable, or remove it"


def main() -> None:
    """Copy a workspace and say what was done."""
    parser = argparse.ArgumentParser(prog="agentsessions-copy", description=main.__doc__)
    parser.add_argument("--name", required=True, help="claim that is copied; written into the marker")
    parser.add_argument("--without-private", action="store_true", help="leave out what the runner keeps for itself")
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    asked = parser.parse_args()
    try:
        copied = copy_workspace(asked.source, asked.target, asked.name, has_private=not asked.without_private)
    except CopyError as error:
        sys.exit(f"agentsessions-copy: {error}")
    if copied is None:
        print(f"{asked.name} was copied before")  # noqa: T201  # what it did is what the pod's log is for
    else:
        print(f"{asked.name}: {copied.files} files, {copied.size_bytes} bytes, sha256 {copied.digest}")  # noqa: T201


if __name__ == "__main__":
    main()

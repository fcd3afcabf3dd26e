"""Paths that stay inside one folder.

A path is resolved with all its links, must then lie in the folder, and is opened part by part without following links
again: a link that is swapped in between makes the operation fail, it never leads out.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from agentsessions.runner.tools.tool import ToolFailedError

FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Confined:
    """A folder that paths may not leave. `hidden` names a folder in it that does not exist for callers."""

    def __init__(self, root: Path, *, hidden: str) -> None:
        self._root = Path(os.path.realpath(root))
        self._hidden = hidden

    def resolve(self, path: str, *, follow: bool = True) -> tuple[str, ...]:
        """Return the parts of `path` below the folder, without links; the empty tuple is the folder itself.

        Args:
            path: Relative, or absolute and inside the folder.
            follow: Whether the last part is followed when it is a link.

        Raises:
            ToolFailedError: The path leads out of the folder.
        """
        joined = os.path.normpath(self._root / path) if not follow else str(self._root / path)
        parent, last = os.path.split(joined)
        resolved = Path(os.path.realpath(joined) if follow else os.path.join(os.path.realpath(parent), last))  # noqa: PTH118 - pathlib has no realpath that keeps the last part
        if not resolved.is_relative_to(self._root):
            raise ToolFailedError(f"{path!r} leads out of the workspace {self._root}; give a path inside it")
        parts = resolved.relative_to(self._root).parts
        if parts[:1] == (self._hidden,):
            raise ToolFailedError(f"{path!r} belongs to the runner; use any other path in the workspace")
        return parts

    @contextlib.contextmanager
    def folder(self, parts: tuple[str, ...], *, create: bool = False) -> Iterator[int]:
        """Open the folder at `parts` for as long as the context lasts.

        Raises:
            OSError: It is not there, is not a folder, or became a link.
        """
        opened = os.open(self._root, FOLDER_FLAGS)
        try:
            for part in parts:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, 0o755, dir_fd=opened)
                inner = os.open(part, FOLDER_FLAGS, dir_fd=opened)
                os.close(opened)
                opened = inner
            yield opened
        finally:
            os.close(opened)

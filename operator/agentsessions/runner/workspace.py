"""The agent's folder: the session's files are put there once, tools work there, results are kept there."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from agentsessions.api.v1alpha1.agent import Builtin
from agentsessions.api.wire import ToolOffer
from agentsessions.runner.tools.files import Files
from agentsessions.runner.tools.proxied import Proxied
from agentsessions.runner.tools.results import Results
from agentsessions.runner.tools.shell import Shell
from agentsessions.runner.tools.sql import Database, Sql
from agentsessions.runner.tools.tool import Tool

PRIVATE_DIR: Final = ".agentsessions"
"""Folder in the workspace that is the runner's own."""
KUBELET_PREFIX: Final = ".."
"""ConfigMap volumes keep their generations under names that begin so; the names beside them are links into one."""


class Workspace:
    """A workspace folder and what the runner does there."""

    def __init__(self, root: Path, child_env: Mapping[str, str], data_dir: Path | None = None) -> None:
        self._root = root
        self._env = dict(child_env)
        self._data_dir = data_dir or root / PRIVATE_DIR / "data"
        self._database: Database | None = None
        self.results = Results(root / PRIVATE_DIR / "results")

    def tools(self, offers: Sequence[ToolOffer]) -> tuple[Tool | Proxied, ...]:
        """Return the tools that a turn offers, in its order."""
        return tuple(self._tool(offer) for offer in offers)

    def _tool(self, offer: ToolOffer) -> Tool | Proxied:
        match offer.builtin:
            case Builtin.SHELL:
                return Shell(self._root, self._env)
            case Builtin.FILES:
                return Files(self._root, hidden=PRIVATE_DIR, is_read_only=offer.is_read_only)
            case Builtin.SQL:
                self._database = self._database or Database(self._data_dir)  # once: the files are frozen
                return Sql(self._database)
            case Builtin.HTTP | None:
                return Proxied(offer)

    def copy_context(self, context_dir: Path) -> list[str]:
        """Copy the session's files into the workspace where absent; return the paths that were copied.

        A file is there whole or not at all, so that a crash in between is repaired by the next epoch.
        """
        copied = []
        for source in iter_files(context_dir):
            relative = source.relative_to(context_dir)
            target = self._root / relative
            if os.path.lexists(target):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name[:200]}.part")  # names have 255 bytes at most
            shutil.copyfile(source, part)
            part.replace(target)
            copied.append(str(relative))
        return copied


def iter_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a ConfigMap volume by the paths that the session gave them, sorted; links are followed."""
    if not folder.is_dir():
        return
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(KUBELET_PREFIX):
            continue
        if entry.is_dir():
            yield from iter_files(entry)
        else:
            yield entry

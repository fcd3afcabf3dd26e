"""Commands of the administrator, each a process of its own beside a journal that is in use."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agentsessions.journal.store import Store
from tests.journal.builders import a_session, play
from tests.journals import put_journal, url_of


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(put_journal(tmp_path / "journal.db"))
    yield store
    await store.close()


def leftovers(folder: Path) -> list[Path]:
    return list(folder.glob(".backup-*"))


def command(tmp_path: Path, *words: str, text: bool = True) -> "subprocess.CompletedProcess[Any]":
    """Run the gateway's program with a command, as `kubectl exec` does."""
    program = "from agentsessions.gateway.main import main; main()"
    environment = {"PYTHONPATH": "operator", "AGENTSESSIONS_DATABASE_URL": url_of(tmp_path / "journal.db")}
    return subprocess.run(
        [sys.executable, "-c", program, *words], env=environment, capture_output=True, text=text, check=False
    )


@pytest.mark.requirement("STEP-5")
async def test_a_backup_is_taken_while_the_journal_is_in_use_and_verifies(store: Store, tmp_path: Path) -> None:
    await play(store, "s1", "42")
    held = await asyncio.to_thread(command, tmp_path, "backup", "-", text=False)
    assert held.returncode == 0, held.stderr
    assert not await asyncio.to_thread(leftovers, tmp_path)
    (tmp_path / "restored.db").write_bytes(held.stdout)
    await store.put_session(a_session("later"))
    again = await Store.open(url_of(tmp_path / "restored.db"))
    assert await again.entries("s1") == await store.entries("s1")
    assert await again.verify("s1") == []
    await again.close()
    refused = await asyncio.to_thread(command, tmp_path, "backup", str(tmp_path / "journal.db"))
    assert (refused.returncode, "is there already" in refused.stderr) == (2, True)


@pytest.mark.requirement("STEP-5")
async def test_the_command_verify_names_the_row_that_was_changed(store: Store, tmp_path: Path) -> None:
    await play(store, "s1", "42")
    await play(store, "s2", "42")
    fine = await asyncio.to_thread(command, tmp_path, "verify")
    assert (fine.returncode, fine.stdout) == (0, "2 sessions checked, 0 of them are not as they were written\n")
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        database.execute("""UPDATE entries SET body = '{"text":"I know."}' WHERE session_uid = 's2' AND seq = 5""")
        database.commit()
    found = await asyncio.to_thread(command, tmp_path, "verify")
    assert found.returncode == 1
    assert "s2: entry 5 has a body that is not the one that was written" in found.stdout
    assert "s1:" not in found.stdout
    one = await asyncio.to_thread(command, tmp_path, "verify", "s1")
    assert (one.returncode, one.stdout[:9]) == (0, "1 session")


@pytest.mark.requirement("STEP-5")
async def test_the_command_copy_takes_a_journal_that_nobody_has_open(store: Store, tmp_path: Path) -> None:
    await play(store, "s1", "42")
    (tmp_path / "new").mkdir()
    file = str(tmp_path / "journal.db")
    busy = await asyncio.to_thread(command, tmp_path / "new", "copy", file)
    assert (busy.returncode, "A gateway has" in busy.stderr) == (2, True), busy.stderr
    await store.close()
    copied = await asyncio.to_thread(command, tmp_path / "new", "copy", file)
    assert (copied.returncode, copied.stdout[:18]) == (0, "1 sessions copied,"), copied.stderr
    fine = await asyncio.to_thread(command, tmp_path / "new", "verify")
    assert (fine.returncode, fine.stdout[:18]) == (0, "1 sessions checked"), fine.stdout
    again = await asyncio.to_thread(command, tmp_path / "new", "copy", file)
    assert (again.returncode, "already" in again.stderr) == (2, True)

"""What an administrator runs beside the gateway, in its container: `backup`, `verify` and `copy`."""

import argparse
import asyncio
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from agentsessions.gateway.settings import Settings
from agentsessions.journal.copying import CopyRefused, copy
from agentsessions.journal.database import create_reader, create_sole_engine, create_writer_engine
from agentsessions.journal.refusals import ForeignJournal
from agentsessions.journal.store import verify_chain
from agentsessions.journal.verification import read_anchor, read_anchor_problems, read_uids

STDOUT: Final = "-"
PAGE: Final = 500


def run(words: Sequence[str], settings: Settings) -> int:
    """Run one command; return the exit status: 0, or 1 when a journal is not as it was written."""
    parser = argparse.ArgumentParser(prog="agentsessions-gateway", description="Without a command: serve.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("backup", help="copy the journal (SQLite) as it is at this moment, while it is in use")
    verb.add_argument("file", help="a new file, or - for standard output")
    verb = verbs.add_parser("verify", help="check the hash chains of sessions, and what their status said of them")
    verb.add_argument("uid", nargs="?", help="of one session; all of them by default")
    verb = verbs.add_parser("copy", help="copy the journal of a SQLite file into that of the settings, which is empty")
    verb.add_argument("file", help="a journal that no gateway has open", type=Path)
    asked = parser.parse_args(words)
    if asked.verb == "copy":
        return copy_to(settings.database_url, asked.file)
    if asked.verb == "backup":
        return back_up(settings.database_url, asked.file)
    return asyncio.run(verify(settings.database_url, asked.uid))


def back_up(url: str, target: str) -> int:
    """Copy the journal to a new file that is whole by itself; the gateway goes on writing meanwhile."""
    source = make_url(url)
    if source.get_backend_name() != "sqlite" or not source.database:
        sys.stderr.write("agentsessions-gateway backup copies SQLite; for PostgreSQL use pg_dump\n")
        return 2
    if target != STDOUT:
        return _copy(source.database, Path(target))
    # Beside the journal: the root of the container is read-only, and /tmp is small.
    with tempfile.TemporaryDirectory(dir=Path(source.database).parent, prefix=".backup-") as folder:
        copy = Path(folder) / "journal.db"
        status = _copy(source.database, copy)
        if status == 0:
            with copy.open("rb") as content:
                shutil.copyfileobj(content, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        return status


def _copy(database: str, target: Path) -> int:
    if target.exists():
        sys.stderr.write(f"{target} is there already: name a new file\n")
        return 2
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))  # one read transaction: one state of the journal
    with target.open("rb+") as file:
        os.fsync(file.fileno())
    sys.stderr.write(f"{target.stat().st_size} bytes copied\n")
    return 0


def copy_to(url: str, file: Path) -> int:
    """Copy a whole journal to where the settings want it from now on; return 2 when nothing was copied."""
    if not file.is_file():
        sys.stderr.write(f"{file} is no file: name the SQLite journal that is to be copied\n")
        return 2
    source, target = create_sole_engine(file), create_writer_engine(url)
    try:
        copied = copy(source, target)
    except (CopyRefused, ForeignJournal, SQLAlchemyError) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        sys.stderr.write(f"nothing was copied: {cause}\n")
        if "locked" in str(cause):
            sys.stderr.write(f"A gateway has {file} open: stop it, and try again\n")
        return 2
    finally:
        source.dispose()
        target.dispose()
    sys.stdout.writelines(f"{problem} (as in the original)\n" for problem in copied.problems)
    sys.stdout.write(f"{copied.sessions} sessions copied, {copied.rows} rows in all; their chains were verified\n")
    return 0


async def verify(url: str, uid: str | None) -> int:
    """Check one session or all; print each problem with its session, and how many were checked."""
    reader = create_reader(url)
    checked = broken = 0
    after = ""
    try:
        while uids := [uid] if uid else await reader.run(read_uids, after, PAGE):
            for one in uids:
                problems = await reader.run(_check, one)
                for problem in problems:
                    sys.stdout.write(f"{one}: {problem}\n")
                checked, broken = checked + 1, broken + bool(problems)
            if uid:
                break
            after = uids[-1]
    finally:
        await reader.close()
    sys.stdout.write(f"{checked} sessions checked, {broken} of them are not as they were written\n")
    return 1 if broken else 0


def _check(conn: Connection, uid: str) -> list[str]:
    anchor = read_anchor(conn, uid)
    return verify_chain(conn, uid) + read_anchor_problems(conn, uid, [anchor] if anchor else [])

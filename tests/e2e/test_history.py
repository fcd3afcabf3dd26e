"""A session whose resource is gone: found, read, told again, carried away; and a row that somebody changed."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import zstandard

from tests.e2e.faults import until
from tests.e2e.product import SYSTEM, Json, Product

pytestmark = pytest.mark.e2e

GOAL = "Say hello."


def run_and_delete(product: Product, namespace: str, name: str) -> Json:
    """Run a session to its end and delete it; return it as it was."""
    product.create_session(namespace, name, goal=GOAL)
    done = product.wait_phase(namespace, name, "Completed")
    product.kubectl("delete", "agentsession", name, "-n", namespace)
    with product.gateway() as gateway:
        until(lambda: "deletedAt" in gateway.get(f"/{name}", namespace=namespace), "its end is known")
    return done


def in_container(product: Product, *words: str) -> tuple[int, str]:
    """Run a command of the gateway in its container."""
    command = ("exec", "-n", SYSTEM, "deployment/agentsessions-gateway", "--", "agentsessions-gateway", *words)
    done = product.kubectl(*command, check=False)
    return done.returncode, done.stdout


@contextmanager
def journal(product: Product) -> Iterator[sqlite3.Connection]:
    """Open the journal's file on the node, which is this machine, behind the gateway's back."""
    claim = product.core.read_namespaced_persistent_volume_claim("agentsessions-journal", SYSTEM)
    volume = product.core.read_persistent_volume(claim.spec.volume_name).spec
    folder = Path((volume.local or volume.host_path).path)
    with closing(sqlite3.connect(folder / "journal.db", timeout=60)) as database:
        yield database


def lose(database: sqlite3.Connection, uid: str) -> None:
    """Take a session out of the journal."""
    for (table,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        if any(column[1] == "session_uid" for column in database.execute(f"PRAGMA table_info({table})")):
            database.execute(f"DELETE FROM {table} WHERE session_uid = ?", (uid,))  # noqa: S608 - names of tables
    database.execute("DELETE FROM sessions WHERE uid = ?", (uid,))
    database.commit()


@pytest.mark.requirement("STEP-3")
@pytest.mark.requirement("STEP-4")
@pytest.mark.requirement("STEP-5")
def test_a_deleted_session_is_found_read_told_again_and_exported(product: Product, namespace: str) -> None:
    done = run_and_delete(product, namespace, "bygone")
    uid, anchor = done["metadata"]["uid"], done["status"]["journal"]
    with product.gateway() as gateway:
        assert gateway.get("", namespace=namespace)["total"] == 0
        (found,) = gateway.get("", namespace=namespace, deleted=True, text="bygone")["items"]
        assert (found["uid"], found["phase"]) == (uid, "Completed")
        steps = gateway.get(f"/{uid}/steps", namespace=namespace)["items"]
        assert steps[-1]["output"] == done["status"]["result"]
        checked = gateway.get(f"/{uid}/verify", namespace=namespace)
        assert checked["ok"]
        assert checked["head"] >= anchor["head"] > 0
        params = {"namespace": namespace, "speed": 0}
        told = gateway.http.get(f"/api/v1/agent-sessions/{uid}/replay", params=params)
        events = [line.removeprefix("event: ") for line in told.text.splitlines() if line.startswith("event: ")]
        assert (events[0], events[-2:]) == ("session_start", ["done", "end"])
        file = gateway.http.get(f"/api/v1/agent-sessions/{uid}/export", params={"namespace": namespace})
        lines = zstandard.ZstdDecompressor().decompressobj().decompress(file.content).splitlines()
        assert json.loads(lines[0])["session"]["uid"] == uid
        assert sum(b'"table":"entries"' in line for line in lines) == checked["head"]


@pytest.mark.requirement("STEP-5")
def test_a_row_that_somebody_changed_is_named_by_verify(product: Product, namespace: str) -> None:
    uid = run_and_delete(product, namespace, "tampered")["metadata"]["uid"]
    assert in_container(product, "verify", uid)[0] == 0
    about = "WHERE session_uid = ? AND seq = 2"
    with journal(product) as database:
        (body,) = database.execute(f"SELECT body FROM entries {about}", (uid,)).fetchone()  # noqa: S608 - our own
        database.execute(f"UPDATE entries SET body = ? {about}", (body.replace("hello", "nothing"), uid))  # noqa: S608
        database.commit()
        try:
            with product.gateway() as gateway:
                found = gateway.get(f"/{uid}/verify", namespace=namespace)
            status, told = in_container(product, "verify", uid)
        finally:
            database.execute(f"UPDATE entries SET body = ? {about}", (body, uid))  # noqa: S608 - likewise
            database.commit()
    problem = "entry 2 has a body that is not the one that was written"
    assert (found["ok"], found["problems"]) == (False, [problem])
    assert (status, f"{uid}: {problem}" in told) == (1, True)


@pytest.mark.requirement("STEP-5")
def test_a_backup_is_taken_from_the_running_gateway(product: Product, namespace: str, tmp_path: Path) -> None:
    run_and_delete(product, namespace, "saved")
    words = ("exec", "-n", SYSTEM, "deployment/agentsessions-gateway", "--", "sh", "-c")
    copied = product.kubectl(*words, "agentsessions-gateway backup - | base64")
    (tmp_path / "journal.db").write_bytes(base64.b64decode(copied.stdout))
    with closing(sqlite3.connect(tmp_path / "journal.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        query = "SELECT count(*) FROM sessions WHERE name = 'saved' AND namespace = ?"
        assert database.execute(query, (namespace,)).fetchone() == (1,)

"""The command line as a process of its own: at a terminal, in a pipe, in a shell's completion, and out of time."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.unit.cli.conftest import ROOT, listed, resource
from tests.unit.cli.test_cli_program import play
from tests.unit.client.script_server import Answer, ScriptServer

WAIT_SECONDS = 1
SESSION_NAME = "list-the-files-of-the-workspace-6e6296"
PROGRAM = (sys.executable, "-m", "agentsessions.cli.main")


def start(program: tuple[str, ...], *words: str, config: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of its own with a kubeconfig to its end."""
    environment = {"PYTHONPATH": str(ROOT / "operator"), "KUBECONFIG": str(config), "PATH": "/usr/bin:/bin"}
    return subprocess.run([*program, *words], capture_output=True, text=True, check=False, timeout=60, env=environment)


def at_terminal(*words: str, config: Path, columns: int) -> str:
    """Return what a command line shows at a terminal of so many columns."""
    way, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {
        "PYTHONPATH": str(ROOT / "operator"),
        "KUBECONFIG": str(config),
        "PATH": "/usr/bin:/bin",
        "TERM": "xterm-256color",
    }
    command = [sys.executable, "-m", "agentsessions.cli.main", *words]
    with subprocess.Popen(command, stdin=other, stdout=other, stderr=other, env=environment) as process:
        os.close(other)
        shown = b""
        while piece := _read(way):
            shown += piece
        assert process.wait(60) == 0, shown
    os.close(way)
    return shown.decode()


def _read(way: int) -> bytes:
    try:
        return os.read(way, 4096)
    except OSError:  # how Linux says that nobody writes any more
        return b""


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize("columns", [60, 80, 200])
def test_list_on_a_terminal_keeps_names_phases_and_reasons_whole(
    server: ScriptServer, tmp_path: Path, columns: int
) -> None:
    found = resource(SESSION_NAME, "Completed", status={"stopReason": "GoalReached"})
    server.script = [Answer(body=listed(found))]
    shown = at_terminal("list", config=tmp_path / "config", columns=columns)
    header, line = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert line.split()[:2] == [SESSION_NAME, "Completed"]
    assert header.split()[:3] == ["NAME", "PHASE", "REASON"]
    assert ("TOKENS" in header) is (columns >= 80)
    assert "\x1b[" in shown, "a terminal has colours"


@pytest.mark.usefixtures("run")
def test_wait_gives_up_in_time(server: ScriptServer, tmp_path: Path) -> None:
    server.answer = play(resource())  # type: ignore[assignment]
    done = start(PROGRAM, "wait", "hello", "--timeout", f"{WAIT_SECONDS}s", config=tmp_path / "config")
    said = "session 'hello' was not Completed within 1s: `kubectl agentsession get hello -n demo` says why"
    assert (done.returncode, done.stderr) == (124, f"error: {said}\n")


@pytest.mark.usefixtures("run")
def test_reader_that_leaves_early_is_no_error(server: ScriptServer, tmp_path: Path) -> None:
    server.script = [Answer(body=listed(*(resource(f"session-{number}") for number in range(3000))))]
    done = start(("bash", "-c"), f"{' '.join(PROGRAM)} list | head -1", config=tmp_path / "config")
    assert (done.stdout.split()[0], done.stderr) == ("NAME", "")


@pytest.mark.usefixtures("run")
def test_completion_offers_verbs_and_sessions(server: ScriptServer, tmp_path: Path) -> None:
    server.script = [Answer(body=listed(resource("hello"), resource("other")))]

    def complete(*words: str) -> list[str]:
        code = "from agentsessions.cli.completion import main; main()"
        done = start((sys.executable, "-c", code), *words, config=tmp_path / "config")
        return [line.split("\t")[0] for line in done.stdout.splitlines()]

    assert complete("pa") == ["pause", ":4"]
    assert complete("get", "he") == ["hello", ":4"]
    assert complete("get", "") == ["@latest", "hello", "other", ":4"]
    assert complete("wait", "hello", "--for", "Com") == ["Completed", ":4"]


def test_help_loads_no_more_than_it_needs() -> None:
    code = "from agentsessions.cli.main import run; run(['--help']); import sys; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={"PYTHONPATH": str(ROOT / "operator"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    heavy = {"pydantic", "httpx2", "rich", "textual", "yaml", "kubernetes", "asyncio", "kopf", "aiohttp"}
    assert heavy & set(done.stdout.splitlines()) == set()

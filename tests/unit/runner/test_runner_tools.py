"""The built-in tools, on a real folder with real processes."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest

from agentsessions.api.names import MAX_TOOL_OUTPUT_BYTES
from agentsessions.api.shortened import shorten
from agentsessions.runner.tools.files import MAX_ENTRIES, MAX_READ_BYTES, Files
from agentsessions.runner.tools.results import Result, Results
from agentsessions.runner.tools.shell import Shell
from agentsessions.runner.tools.tool import ToolFailedError
from tests.unit.runner.processes import has_ended

pytestmark = pytest.mark.requirement("AG-2")


@pytest.fixture
def shell(folder: Path) -> Shell:
    return Shell(folder, {"PATH": os.environ["PATH"], "GREETING": "hello"})


@pytest.fixture
def files(folder: Path) -> Files:
    return Files(folder, hidden=".agentsessions")


async def test_shell_runs_in_the_workspace_with_the_given_variables_alone(shell: Shell, folder: Path) -> None:
    text = await shell.run({"command": "pwd; echo $GREETING; env | grep -c -i agentsessions || true"})
    assert text == f"{folder}\nhello\n0\n\n[exit code 0]"


async def test_shell_merges_both_outputs_in_order_and_tells_the_exit_code(shell: Shell) -> None:
    text = await shell.run({"command": "echo one; echo two >&2; echo three; exit 7"})
    assert text == "one\ntwo\nthree\n\n[exit code 7]"


async def test_shell_tells_which_signal_ended_a_command(shell: Shell) -> None:
    assert await shell.run({"command": "kill -9 $$"}) == "\n[killed by SIGKILL]"


async def test_shell_kills_the_whole_group_at_the_time_out(shell: Shell, folder: Path) -> None:
    with pytest.raises(ToolFailedError, match=r"(?s)begun.*killed after 1 s"):
        await shell.run({"command": "sleep 600 & echo $! > pid; echo begun; wait", "timeout": 1})
    assert has_ended(folder / "pid")


async def test_shell_does_not_wait_for_what_runs_in_the_background(shell: Shell, folder: Path) -> None:
    started = time.monotonic()
    assert await shell.run({"command": "sleep 600 & echo $! > pid; echo begun"}) == "begun\n\n[exit code 0]"
    assert time.monotonic() - started < 5
    assert has_ended(folder / "pid")


async def test_shell_returns_although_a_program_left_the_group_with_the_pipe(shell: Shell, folder: Path) -> None:
    text = await shell.run({"command": "setsid sleep 600 & echo $! > pid; echo begun"})
    os.kill(int(read(folder / "pid")), 9)
    assert text == "begun\n\n[exit code 0]"


async def test_shell_shortens_long_output_in_the_middle(shell: Shell) -> None:
    text = await shell.run({"command": "echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo last"})
    assert text.startswith("first\nxxx")
    assert text.endswith("xxxlast\n\n[exit code 0]")
    assert "bytes left out here" in text
    assert len(text.encode()) <= MAX_TOOL_OUTPUT_BYTES


async def test_shell_leaves_nothing_behind_when_cancelled(shell: Shell, folder: Path) -> None:
    os.mkfifo(folder / "begun")
    running = asyncio.create_task(shell.run({"command": "echo $$ > pid; echo > begun; sleep 600"}))
    await asyncio.to_thread((folder / "begun").read_bytes)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert has_ended(folder / "pid")


async def test_shell_gives_no_input_to_commands(shell: Shell) -> None:
    assert await shell.run({"command": "cat; echo done"}) == "done\n\n[exit code 0]"


async def test_shell_reports_a_command_that_cannot_start(folder: Path) -> None:
    with pytest.raises(ToolFailedError, match="could not be started"):
        await Shell(folder / "gone", {}).run({"command": "true"})


async def test_files_writes_reads_lists_and_deletes(files: Files, folder: Path) -> None:
    assert await files.run({"operation": "write", "path": "a/b.txt", "content": "grün"}) == "5 bytes written to a/b.txt"
    assert await files.run({"operation": "read", "path": "a/b.txt"}) == "grün"
    assert await files.run({"operation": "read", "path": f"{folder}/a/../a/b.txt"}) == "grün"
    assert await files.run({"operation": "list", "path": "."}) == "a/"
    assert await files.run({"operation": "list", "path": "a"}) == "b.txt (5 bytes)"
    assert await files.run({"operation": "delete", "path": "a/b.txt"}) == "a/b.txt deleted"
    assert await files.run({"operation": "delete", "path": "a"}) == "a deleted"
    assert await files.run({"operation": "list", "path": "."}) == "[empty folder]"


async def test_files_keeps_the_permissions_of_a_file_that_it_replaces(files: Files, folder: Path) -> None:
    write(folder / "run.sh", b"old").chmod(0o750)
    await files.run({"operation": "write", "path": "run.sh", "content": "new"})
    assert (folder / "run.sh").stat().st_mode & 0o777 == 0o750
    assert names(folder) == ["run.sh"], "nothing temporary stays"


async def test_files_reads_long_files_in_pieces(files: Files, folder: Path) -> None:
    write(folder / "long", b"a" * MAX_READ_BYTES + b"rest")
    text = await files.run({"operation": "read", "path": "long"})
    assert text.endswith(f"a\n[4 more bytes; read again with offset {MAX_READ_BYTES}]")
    assert await files.run({"operation": "read", "path": "long", "offset": MAX_READ_BYTES}) == "rest"


async def test_files_lists_only_so_many_entries_and_hides_the_runner_s(files: Files, folder: Path) -> None:
    (folder / ".agentsessions").mkdir()
    for number in range(MAX_ENTRIES + 3):
        write(folder / f"{number:04}", b"")
    lines = (await files.run({"operation": "list", "path": "."})).splitlines()
    assert lines[0] == "0000 (0 bytes)"
    assert lines[-1] == f"[3 more entries; {MAX_ENTRIES} are listed at most]"


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        pytest.param({"operation": "read", "path": "../secret"}, "leads out", id="a path up and out"),
        pytest.param({"operation": "read", "path": "a/../../secret"}, "leads out", id="a path in, up and out"),
        pytest.param({"operation": "read", "path": "/etc/passwd"}, "leads out", id="an absolute path"),
        pytest.param({"operation": "read", "path": "link-out"}, "leads out", id="a link out"),
        pytest.param({"operation": "read", "path": "folder-out/secret"}, "leads out", id="a folder that is a link out"),
        pytest.param({"operation": "list", "path": "folder-out"}, "leads out", id="listing a link out"),
        pytest.param({"operation": "write", "path": "link-out", "content": "x"}, "leads out", id="writing through it"),
        pytest.param({"operation": "write", "path": "dangling", "content": "x"}, "leads out", id="a dangling link out"),
        pytest.param({"operation": "delete", "path": "folder-out/secret"}, "leads out", id="deleting through it"),
        pytest.param({"operation": "read", "path": ".agentsessions/results/c"}, "belongs to the runner", id="ours"),
        pytest.param({"operation": "delete", "path": "."}, "workspace itself", id="the workspace"),
        pytest.param({"operation": "read", "path": "gone"}, "No such file", id="a file that is not there"),
        pytest.param({"operation": "list", "path": "plain"}, "Not a directory", id="listing a file"),
        pytest.param({"operation": "read", "path": "."}, "workspace itself", id="reading the workspace"),
        pytest.param({"operation": "read", "path": "full"}, "a folder, not a file", id="reading a folder"),
        pytest.param({"operation": "read", "path": "pipe"}, "a special file", id="a pipe that would block"),
        pytest.param({"operation": "read", "path": "binary"}, "not text", id="a binary file"),
        pytest.param({"operation": "delete", "path": "full"}, "not empty", id="a folder with content"),
        pytest.param({"operation": "write", "path": "x"}, "'content' is missing", id="a write without content"),
        pytest.param({"operation": "write", "path": "plain/x", "content": ""}, "Not a directory", id="below a file"),
    ],
)
async def test_files_refuses(files: Files, folder: Path, tmp_path: Path, arguments: dict[str, Any], why: str) -> None:
    secret = write(tmp_path / "secret", b"secret")
    (folder / "link-out").symlink_to(secret)
    (folder / "dangling").symlink_to(tmp_path / "new")
    (folder / "folder-out").symlink_to(tmp_path)
    (folder / "full").mkdir()
    write(folder / "full/file", b"")
    write(folder / "plain", b"")
    write(folder / "binary", b"\0\1")
    os.mkfifo(folder / "pipe")
    with pytest.raises(ToolFailedError, match=why):
        await files.run(arguments)
    assert secret.read_bytes() == b"secret"
    assert not (tmp_path / "new").exists()


async def test_files_follows_links_that_stay_inside_and_deletes_links_themselves(files: Files, folder: Path) -> None:
    write(folder / "real", b"text")
    (folder / "link").symlink_to("real")
    (folder / "out").symlink_to("/etc/passwd")
    assert await files.run({"operation": "read", "path": "link"}) == "text"
    assert "out (a link)" in await files.run({"operation": "list", "path": "."})
    await files.run({"operation": "delete", "path": "link"})
    await files.run({"operation": "delete", "path": "out"})
    assert names(folder) == ["real"]


def test_results_keeps_a_result_until_it_is_forgotten(folder: Path) -> None:
    results = Results(folder / "results")
    result = Result(output="text", is_error=False, duration_milliseconds=3)
    assert results.load("call-1") is None
    results.save("call-1", result)
    results.save("../odd id", result)
    assert Results(folder / "results").load("call-1") == result
    assert results.load("../odd id") == result
    assert not list(folder.glob("odd*"))
    results.forget("call-1")
    assert results.load("call-1") is None


def test_results_takes_what_it_cannot_read_for_absent(folder: Path) -> None:
    write(folder / "call-1", b'{"output": ')
    assert Results(folder).load("call-1") is None


def test_results_goes_on_when_it_cannot_write(folder: Path) -> None:
    write(folder / "results", b"a file where the folder should be")
    Results(folder / "results").save("call-1", Result(output="", is_error=False, duration_milliseconds=0))


@pytest.mark.parametrize(
    ("text", "limit", "want"),
    [
        pytest.param("grün", 200, "grün", id="what fits stays"),
        pytest.param("a\0b\ud800", 200, "a\ufffdb?", id="what no database takes is replaced"),
    ],
)
def test_shorten_returns_text_that_can_be_stored(text: str, limit: int, want: str) -> None:
    assert shorten(text, limit) == want


@pytest.mark.parametrize("size", [999, 1000, 1001, 1500, 5000])
@pytest.mark.parametrize("character", ["x", "ü", "€", "😀"])
def test_shorten_never_exceeds_the_limit(size: int, character: str) -> None:
    text = character * size
    short = shorten(text, 1000)
    assert len(short.encode()) <= 1000
    assert (short == text) is (len(text.encode()) <= 1000)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def read(path: Path) -> str:
    return path.read_text().strip()


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


@pytest.mark.requirement("OBJ-3")
async def test_files_that_only_read_are_offered_without_the_rest(folder: Path) -> None:
    reading = Files(folder, hidden=".agentsessions", is_read_only=True)
    assert reading.parameters["properties"]["operation"]["enum"] == ["list", "read"]
    assert "content" not in reading.parameters["properties"]
    assert "write" not in reading.description
    (folder / "a.txt").write_text("there")
    assert await reading.run({"operation": "read", "path": "a.txt"}) == "there"

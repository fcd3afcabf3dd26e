"""A workspace copied from one volume to another: whole, or not at all, however often it is cut off."""

import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from agentsessions.runner import copying
from agentsessions.runner.copying import CopyError, copy_workspace, tree_digest

pytestmark = pytest.mark.requirement("AG-8")

CLAIM = "rows-71c40752-workspace"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a workspace with everything that agents leave behind."""
    root = tmp_path / "source"
    (root / "data" / "deep" / "er").mkdir(parents=True)
    (root / "lost+found").mkdir()
    (root / "lost+found" / "inode").write_text("of the file system")
    (root / "data" / "rows.csv").write_bytes(b"a,b\n" * 100_000)
    (root / "data" / "deep" / "er" / "größe.txt").write_text("größe")
    (root / os.fsdecode(b"not-utf8-\xff")).write_bytes(b"\0\1")
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o4755)
    (root / "link").symlink_to("/etc/shadow")
    (root / "loop").symlink_to("loop")
    (root / "empty").mkdir(mode=0o750)
    os.mkfifo(root / "pipe")
    os.utime(root / "data" / "rows.csv", ns=(1_000_000_000, 1_000_000_000))
    os.utime(root / "data", ns=(2_000_000_000, 2_000_000_000))
    return root


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return an empty volume as a file system makes it."""
    root = tmp_path / "target"
    (root / "lost+found").mkdir(parents=True)
    return root


def without_marker(root: Path) -> str:
    """Return the digest of what was copied."""
    shutil.rmtree(root / copying.MARKER_DIR)
    return tree_digest(root)


def test_a_copy_has_the_same_files_links_modes_and_times(source: Path, target: Path) -> None:
    copied = copy_workspace(source, target, CLAIM)
    assert copied is not None
    assert (copied.files, copied.size_bytes) == (4, 400_000 + 7 + 2 + 10)
    assert without_marker(target) == copied.digest == tree_digest(source)
    assert (target / "link").readlink() == Path("/etc/shadow")
    assert stat.S_IMODE((target / "run.sh").stat().st_mode) == 0o755  # no set-user-id
    assert (target / "data" / "rows.csv").stat().st_mtime_ns == 1_000_000_000
    assert (target / "data").stat().st_mtime_ns == 2_000_000_000
    assert not (target / "pipe").exists()
    assert list((target / "lost+found").iterdir()) == []


def test_a_whole_copy_is_not_made_again_over_what_the_agent_wrote_since(source: Path, target: Path) -> None:
    copy_workspace(source, target, CLAIM)
    (target / "run.sh").write_text("changed")
    assert copy_workspace(source, target, CLAIM) is None
    assert (target / "run.sh").read_text() == "changed"


def test_a_copy_that_came_from_elsewhere_is_made_again(source: Path, target: Path) -> None:
    copy_workspace(source, target, "rows-other-workspace")
    (target / "left").write_text("of the other")
    assert copy_workspace(source, target, CLAIM) is not None
    assert not (target / "left").exists()


def test_what_a_copy_left_that_was_cut_off_is_removed_first(source: Path, target: Path) -> None:
    (target / "data" / "half").mkdir(parents=True)
    (target / "data" / "half" / "gone.txt").write_text("was removed before the move")
    (target / "data" / "half").chmod(0o500)
    (target / "link").symlink_to("/etc")
    copied = copy_workspace(source, target, CLAIM)
    assert copied is not None
    assert without_marker(target) == copied.digest
    assert Path("/etc").is_dir()


@pytest.mark.parametrize("syscall", [1, 5, 9, 14, 20])
def test_a_copy_killed_anywhere_ends_the_same_the_next_time(source: Path, target: Path, syscall: int) -> None:
    code = (
        "import os, sys\n"
        "from agentsessions.runner import copying\n"
        "left = [int(sys.argv.pop(1))]\n"
        "def watch(event, arguments):\n"
        "    if event in {'open', 'os.mkdir', 'os.symlink', 'os.chmod', 'os.utime', 'os.rename'}:\n"
        "        left[0] -= 'target' in str(arguments[0]) or isinstance(arguments[0], int)\n"
        "        if left[0] < 0: os._exit(9)\n"
        "sys.addaudithook(watch)\n"
        "copying.main()\n"
    )
    command = [sys.executable, "-c", code, str(syscall), "--name", CLAIM, str(source), str(target)]
    env = {**os.environ, "PYTHONPATH": "operator"}
    killed = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert killed.returncode == 9, killed.stderr
    assert not (target / copying.MARKER_DIR / copying.MARKER).exists()
    copied = copy_workspace(source, target, CLAIM)
    assert copied is not None
    assert without_marker(target) == copied.digest


@pytest.mark.requirement("AG-7")
def test_a_fork_does_not_get_what_the_runner_keeps_of_its_source(source: Path, target: Path) -> None:
    (source / copying.MARKER_DIR / "results").mkdir(parents=True)
    (source / copying.MARKER_DIR / "results" / "call_1").write_text("of another session")
    copied = copy_workspace(source, target, CLAIM, has_private=False)
    assert copied is not None
    assert [path.name for path in (target / copying.MARKER_DIR).iterdir()] == [copying.MARKER]
    assert copy_workspace(source, target, CLAIM, has_private=False) is None


def test_a_copy_that_differs_is_not_taken(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sync", lambda: (target / "run.sh").write_text("rot"))  # what a broken volume does
    with pytest.raises(CopyError, match="differs"):
        copy_workspace(source, target, CLAIM)
    assert not (target / copying.MARKER_DIR / copying.MARKER).exists()


def test_a_volume_without_room_is_told_with_the_field_to_change(source: Path) -> None:
    target = Path("/dev/shm") / f"agentsessions-{os.getpid()}"  # noqa: S108  # a folder of the test's own
    target.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts a small volume")
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(target)], check=True)
        with pytest.raises(CopyError, match=r"full: give spec\.workspace a larger size"):
            copy_workspace(source, target, CLAIM)
    finally:
        subprocess.run(["umount", str(target)], check=False)
        target.rmdir()


def test_main_says_what_cannot_be_copied(tmp_path: Path, target: Path) -> None:
    command = [sys.executable, "-m", "agentsessions.runner.copying", "--name", CLAIM, str(tmp_path / "no"), str(target)]
    env = {**os.environ, "PYTHONPATH": "operator"}
    told = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    assert told.returncode == 1
    assert told.stderr.startswith("agentsessions-copy: ")
    assert "cannot be copied (No such file or directory)" in told.stderr


def test_a_socket_is_left_out(tmp_path: Path, target: Path) -> None:
    root = tmp_path / "s"
    root.mkdir()
    with socket.socket(socket.AF_UNIX) as held:
        held.bind(str(root / "held"))
        assert copy_workspace(root, target, CLAIM) is not None
    assert not (target / "held").exists()

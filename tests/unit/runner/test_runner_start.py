"""What the runner takes from its pod."""

import os
import sys
from pathlib import Path

import pytest

from agentsessions.api.reasons import ExitCode
from agentsessions.runner import imports
from agentsessions.runner.app import to_exit_code
from agentsessions.runner.errors import (
    FencedError,
    GatewayError,
    LimitReachedError,
    PassingError,
    RefusedError,
    to_seconds,
)
from agentsessions.runner.settings import Settings, strip_reserved, to_child_env
from agentsessions.runner.workspace import Workspace


def test_settings_are_those_of_an_agent_pod() -> None:
    settings = Settings.from_env({"AGENTSESSIONS_GATEWAY_URL": "https://gateway.svc/"})
    assert settings.gateway_url == "https://gateway.svc"
    assert settings.workspace_dir == Path("/workspace")


@pytest.mark.parametrize("url", ["", "gateway", "ftp://gateway"])
def test_settings_refuse_a_url_that_is_none(url: str) -> None:
    with pytest.raises(ValueError, match="AGENTSESSIONS_GATEWAY_URL"):
        Settings.from_env({"AGENTSESSIONS_GATEWAY_URL": url})


@pytest.mark.requirement("ID-5")
def test_reserved_variables_are_removed() -> None:
    kept = {"PATH": "/bin", "HOME": "/workspace", "AGENTSESSIONS_EPOCH": "1", "MY_SETTING": "x"}
    traffic = ("HTTPS_PROXY", "https_proxy", "No_Proxy", "ALL_PROXY", "OPENAI_BASE_URL", "OPENAI_API_KEY")
    others = ("SSL_CERT_FILE", "PYTHONPATH", "LD_PRELOAD")
    env = kept | dict.fromkeys(traffic + others, "x")
    strip_reserved(env)
    assert env == kept


def test_programs_that_tools_start_see_nothing_of_the_runner() -> None:
    env = {"PATH": "/bin", "AGENTSESSIONS_TOKEN_FILE": "/t", "HTTP_PROXY": "p", "MY_SETTING": "x"}
    assert to_child_env(env) == {"PATH": "/bin", "MY_SETTING": "x"}


@pytest.mark.requirement("OBJ-6")
def test_context_files_are_copied_once_from_a_config_map_volume(tmp_path: Path, folder: Path) -> None:
    volume = tmp_path / "context"
    generation = volume / "..2026_11_21"
    (generation / "data").mkdir(parents=True)
    (generation / "sales.csv").write_text("a,b\n")
    (generation / "data/more.csv").write_text("c,d\n")
    (volume / "..data").symlink_to("..2026_11_21")
    (volume / "sales.csv").symlink_to("..data/sales.csv")
    (volume / "data").symlink_to("..data/data")
    workspace = Workspace(folder, {})

    assert workspace.copy_context(volume) == ["data/more.csv", "sales.csv"]
    copy = folder / "sales.csv"
    assert copy.read_text() == "a,b\n"
    assert not copy.is_symlink()
    assert os.access(copy, os.W_OK)

    copy.write_text("changed by the agent")
    assert workspace.copy_context(volume) == []
    assert copy.read_text() == "changed by the agent"
    assert sorted(path.name for path in folder.rglob("*")) == ["data", "more.csv", "sales.csv"]


def test_a_session_without_files_has_no_context_folder(tmp_path: Path, folder: Path) -> None:
    assert Workspace(folder, {}).copy_context(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FencedError(""), ExitCode.TERMINATED),
        (LimitReachedError(""), ExitCode.LIMIT),
        (RefusedError(""), ExitCode.REFUSED),
        (PassingError(""), ExitCode.ERROR),
        (GatewayError(""), ExitCode.ERROR),
    ],
    ids=lambda value: type(value).__name__,
)
def test_exit_code_tells_what_ended_the_runner(error: GatewayError, code: ExitCode) -> None:
    assert to_exit_code(error) is code


@pytest.mark.parametrize(("header", "want"), [(None, None), ("1", 1.0), ("0.5", 0.5), ("-3", 0.0), ("Wed, 21", None)])
def test_retry_after_is_read_in_seconds(header: str | None, want: float | None) -> None:
    assert to_seconds(header) == want


def test_imports_leave_no_stand_in_behind() -> None:
    with imports.without_unused():
        pass
    assert sys.modules.get(imports.AIOHTTP, sys) is not None
    for name in (imports.MCP_ERRORS, imports.GRIFFE):
        stand_in = sys.modules.get(name)
        assert stand_in is None or stand_in.__file__

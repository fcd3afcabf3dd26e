"""Argo CD's health checks, run as Argo CD runs them: Lua 5.1 with its base and table libraries alone."""

from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from agentsessions.controller.providers import ready_condition
from agentsessions.controller.views import to_provider
from tests.builders import T0
from tests.statuses import CASES, Json, session_of
from tests.unit.controller.objects import a_raw_provider

CONFIG_MAP: Final = Path(__file__).parents[3] / "manifests" / "argocd" / "argocd-cm.yaml"
CHECKS: Final = yaml.safe_load(CONFIG_MAP.read_text())["data"]
NOT_THERE: Final = ("string", "math", "io", "debug", "require", "dofile", "loadfile", "os", "coroutine", "python")
EXPECTED: Final = {
    "Pending": "Progressing",
    "Queued": "Progressing",
    "Starting": "Progressing",
    "Running": "Healthy",
    "Idle": "Healthy",
    "Waiting": "Suspended",
    "Pausing": "Progressing",
    "Paused": "Suspended",
    "Cancelling": "Progressing",
    "Cancelled": "Healthy",
    "Completed": "Healthy",
    "Failed": "Degraded",
    "Expired": "Degraded",
    "Paused by a limit": "Suspended",
    "Pending past its deadline": "Degraded",
    "Queued past its deadline": "Degraded",
    "Pausing past its deadline": "Degraded",
}


def health(kind: str, resource: Json) -> tuple[str, str]:
    """Return status and message of a resource."""
    lua = LuaRuntime(register_eval=False, register_builtins=False)
    for name in NOT_THERE:
        lua.globals()[name] = None
    lua.globals()["obj"] = lua.table_from(resource, recursive=True)
    found: Any = lua.execute(CHECKS[f"resource.customizations.health.agentsessions.dev_{kind}"])
    return found["status"], found["message"]


def a_provider(**changes: Any) -> Json:
    """Return a provider with the status that the operator writes."""
    raw = a_raw_provider(**changes)
    condition = ready_condition(to_provider(raw), T0).to_json()
    return {**raw, "status": {"observedGeneration": raw["metadata"]["generation"], "conditions": [condition]}}


@pytest.mark.requirement("OPS-7")
@pytest.mark.parametrize("case", CASES)
def test_argo_cd_reads_a_session(case: str) -> None:
    status, message = health("AgentSession", session_of(case))
    assert status == EXPECTED[case]
    assert message.startswith(case.split(maxsplit=1)[0])


def test_the_message_says_what_the_condition_says() -> None:
    assert health("AgentSession", session_of("Pending")) == ("Progressing", "Pending: there is no provider")


@pytest.mark.parametrize("case", CASES)
def test_a_change_that_the_operator_has_not_seen_is_progressing(case: str) -> None:
    session = session_of(case)
    session["metadata"]["generation"] += 1
    status, message = health("AgentSession", session)
    assert (status, message) == ("Progressing", "the operator has not seen the last change yet")


@pytest.mark.parametrize("kind", ["AgentSession", "ModelProvider", "ToolServer", "SessionWebhook"])
def test_a_new_resource_is_progressing(kind: str) -> None:
    assert health(kind, {"metadata": {"name": "new", "generation": 1}})[0] == "Progressing"


def test_a_provider_that_sessions_can_use_is_healthy() -> None:
    assert health("ModelProvider", a_provider()) == ("Healthy", "sessions can use it")


def test_a_provider_that_sessions_cannot_use_is_degraded() -> None:
    script = {"rules": [{"when": {"text": "("}, "answer": {"text": "x"}}]}
    assert health("ModelProvider", a_provider(script=script))[0] == "Degraded"


def test_a_provider_whose_change_was_not_seen_is_progressing() -> None:
    provider = a_provider()
    provider["metadata"]["generation"] += 1
    assert health("ModelProvider", provider)[0] == "Progressing"

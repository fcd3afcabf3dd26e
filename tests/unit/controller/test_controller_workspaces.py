"""A fork's workspace begins with its source's only while nobody writes there."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.placement import FilledFrom
from agentsessions.children.names import claim_of
from agentsessions.controller.refusals import RefusedError
from agentsessions.controller.store import Sessions
from agentsessions.controller.views import to_session
from agentsessions.controller.workspaces import STILL, Workspaces
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import ClusterAccess
from agentsessions.engine.errors import Unreachable
from agentsessions.lifecycle.facts import SessionView
from tests.unit.controller.objects import a_raw_session

pytestmark = pytest.mark.requirement("AG-7")

ROW = {"name": "agent", "epoch": 1, "state": "Ended"}
SITE = {"volume": {"number": 2, "storageClassName": "fast", "size": "1Gi"}}


@pytest.fixture
async def workspaces() -> AsyncIterator[tuple[Workspaces, Sessions]]:
    client = Client(ClusterAccess(server="http://127.0.0.1:9", ssl=False, token=lambda: ""), field_manager="test")
    sessions = Sessions()
    yield Workspaces(client, sessions), sessions
    await client.close()


def a_source(phase: Phase | None = Phase.PAUSED, **status: Any) -> dict[str, Any]:
    raw = a_raw_session(workspace={"size": "1Gi"}, status={"phase": phase, "agents": [ROW], "site": SITE, **status})
    return {**raw, "metadata": {**raw["metadata"], "name": "source", "uid": "uid-source"}}


def a_fork(**source: Any) -> SessionView:
    reference = {"sessionRef": {"name": "source"}, "workspace": "Copy", **source}
    return to_session(a_raw_session(source=reference, workspace={"size": "1Gi"})).view


async def test_a_fork_that_does_not_ask_for_files_begins_empty(workspaces: tuple[Workspaces, Sessions]) -> None:
    assert await workspaces[0].find(a_fork(workspace="Empty")) is None
    assert await workspaces[0].find(a_fork(workspace=None)) is None


@pytest.mark.parametrize("phase", [None, *(phase for phase in Phase if phase not in STILL)])
async def test_a_source_that_may_write_is_to_be_paused(
    workspaces: tuple[Workspaces, Sessions], phase: Phase | None
) -> None:
    workspaces[1].put(a_source(phase))
    with pytest.raises(RefusedError, match=r"session source, which is \w+, so .*: pause it, or create"):
        await workspaces[0].find(a_fork())


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(None, "which is gone", id="a source that was deleted"),
        pytest.param(a_source(site=None), "has no workspace", id="a source without a volume"),
        pytest.param(a_source(agents=[]), "has no workspace", id="a source that never had a pod"),
        pytest.param(a_source(agents=[{**ROW, "name": "b"}]), "has no workspace", id="a source of other agents"),
    ],
)
async def test_what_cannot_be_copied_is_told(
    workspaces: tuple[Workspaces, Sessions], raw: dict[str, Any] | None, words: str
) -> None:
    if raw is not None:
        workspaces[1].put(raw)
    with pytest.raises(RefusedError, match=f"{words}.*create this one with spec.source.workspace Empty"):
        await workspaces[0].find(a_fork())


SHARED = [{**ROW, "name": name, "podUID": "p1"} for name in ("desk", "engineer")] + [
    {**ROW, "name": "expert", "podUID": "p2"}
]
"""Agents of a source of which two shared a pod, and so a workspace."""


def a_team_fork(**own: dict[str, Any]) -> SessionView:
    agents = [{"name": name, **own.get(name, {})} for name in ("desk", "engineer", "expert")]
    how = {"strategy": "Handoff"}
    reference = {"sessionRef": {"name": "source"}, "workspace": "Copy"}
    raw = a_raw_session(source=reference, workspace={"size": "1Gi"}, agents=agents, coordination=how)
    return to_session(raw).view


@pytest.mark.requirement("AG-1")
@pytest.mark.parametrize(
    ("own", "words"),
    [
        pytest.param({}, "agent expert has the files of expert, and here it has those of desk", id="one more shares"),
        pytest.param(
            {"engineer": {"resources": {}}, "expert": {"resources": {}}},
            "agent engineer has the files of desk, and here it has those of engineer",
            id="one shares no more",
        ),
    ],
)
async def test_agents_that_share_a_workspace_otherwise_than_in_the_source_are_told(
    workspaces: tuple[Workspaces, Sessions], own: dict[str, Any], words: str
) -> None:
    workspaces[1].put(a_source(agents=SHARED))
    with pytest.raises(RefusedError, match=words):
        await workspaces[0].find(a_team_fork(**own))


@pytest.mark.requirement("AG-1")
async def test_the_claim_that_agents_of_the_source_share_is_looked_up_under_the_name_of_the_first(
    workspaces: tuple[Workspaces, Sessions],
) -> None:
    workspaces[1].put(a_source(agents=SHARED[:2]))
    fork = a_team_fork(expert={"resources": {}})
    found = FilledFrom(session_name="source", session_uid="uid-source", number=2, storage_class_name="fast", agents=[])
    claim = claim_of(found, "desk")
    with pytest.raises(Unreachable, match=f"persistentvolumeclaims/{claim}"):
        await workspaces[0].find(fork)


async def test_another_session_of_the_name_is_not_the_source(workspaces: tuple[Workspaces, Sessions]) -> None:
    workspaces[1].put(a_source())
    with pytest.raises(RefusedError, match="which is gone"):
        await workspaces[0].find(a_fork(sessionRef={"name": "source", "uid": "uid-before"}))


@pytest.mark.parametrize("phase", sorted(STILL))
async def test_the_claim_of_a_source_that_stands_still_is_looked_up(
    workspaces: tuple[Workspaces, Sessions], phase: Phase
) -> None:
    workspaces[1].put(a_source(phase))
    with pytest.raises(Unreachable, match="persistentvolumeclaims/source-"):
        await workspaces[0].find(a_fork())

"""Agents that hand over, on real pods: those of one kind share a pod, which lives and dies for all of them."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

import pytest

from tests.e2e.faults import kill_containers, until
from tests.e2e.product import Json, Product
from tests.e2e.stage import GO, WAIT_FOR_GO, WAITING
from tests.e2e.volumes import workspace_of

pytestmark = pytest.mark.e2e

DESK, ENGINEER, EXPERT = "desk", "engineer", "expert"
QUICK_SECONDS = 2.0
"""Far more than a turn takes, and less than any pod's start."""


def shell(agent: str, step: int, command: str) -> Json:
    call = {"name": "shell", "arguments": {"command": command}}
    return {"when": {"agent": agent, "step": step}, "answer": {"toolCalls": [call]}}


def transfer(agent: str, step: int, receiver: str) -> Json:
    call: Json = {"name": f"transfer_to_{receiver}", "arguments": {}}
    return {"when": {"agent": agent, "step": step}, "answer": {"toolCalls": [call]}}


RULES: tuple[Json, ...] = (  # steps are those of the conversation, which all of them go on with
    shell(DESK, 1, "echo 'disk full' > note; echo noted"),
    transfer(DESK, 2, ENGINEER),
    shell(ENGINEER, 3, "cat note"),
    shell(ENGINEER, 4, WAIT_FOR_GO),
    transfer(ENGINEER, 5, EXPERT),
    shell(EXPERT, 6, "cat note || echo no note here"),
    transfer(EXPERT, 7, DESK),
    {"when": {"agent": DESK}, "answer": {"text": "made room, said ${result[-1]}"}},
)


@pytest.mark.requirement("AG-1")
@pytest.mark.requirement("AG-3")
@pytest.mark.requirement("LIFE-11")
def test_agents_that_hand_over_share_a_pod_and_one_with_resources_of_its_own_has_another(
    product: Product, namespace: str
) -> None:
    product.create_script(namespace, "desk", *RULES)
    model = {"model": {"providerRef": {"name": "desk"}}}
    product.create_session(
        namespace,
        "calls",
        goal="My machine is slow.",
        coordination={"strategy": "Handoff"},
        agents=[
            {"name": DESK, **model},
            {"name": ENGINEER, **model},
            {"name": EXPERT, "resources": {"requests": {"cpu": "50m"}}, **model},
        ],
        limits={"maxSteps": 20, "timeoutSeconds": 600},
        retry={"initialBackoffSeconds": 1},
        workspace={"size": "16Mi"},
    )
    first = strike_behind_the_first_change(product, namespace)
    done = product.wait_phase(namespace, "calls", "Completed", seconds=600)
    assert done["status"]["result"].startswith("made room, said ")
    rows = {row["name"]: row for row in done["status"]["agents"]}
    assert {name: (row["epoch"], row["steps"]) for name, row in rows.items()} == {
        DESK: (3, 3),  # the first, one for that which was killed, one for when the conversation came back
        ENGINEER: (3, 3),
        EXPERT: (1, 2),
    }
    assert rows[DESK]["podUID"] == rows[ENGINEER]["podUID"] not in {rows[EXPERT]["podUID"], first["podUID"]}
    assert sum(row["tokens"] for row in rows.values()) == done["status"]["usage"]["totalTokens"]

    entries = product.entries(namespace, "calls")
    results = [(e["agent"], e["body"]["output"]) for e in entries if e["type"] == "tool_result"]
    shown = {(agent, words) for agent, output in results for words in ("disk full", "no note here") if words in output}
    assert shown == {(ENGINEER, "disk full"), (EXPERT, "no note here")}, "who shares a pod shares its workspace"
    epochs = {e["epoch"] for e in entries if e["agent"] == DESK and e["step"] == 2}
    assert epochs == {1}
    assert {e["epoch"] for e in entries if e["agent"] == ENGINEER and e["step"] == 1} == {1}
    within, across, back = changes_of_hands(entries)
    assert within < min(QUICK_SECONDS, across, back)


def strike_behind_the_first_change(product: Product, namespace: str) -> Json:
    """Kill the pod while the second agent plays in it, see what status says of both, and let the next one go on."""

    def is_waiting() -> bool:
        folder = workspace_of(product, namespace, "calls", DESK)
        return folder is not None and (folder / WAITING).exists()

    until(is_waiting, "the engineer is in its second call")

    def is_told(session: Json) -> bool:
        states = {row["name"]: row["state"] for row in session["status"]["agents"]}
        return states == {DESK: "Standby", ENGINEER: "Running"}

    session = product.wait_for(namespace, "calls", is_told, "with the engineer at work")
    desk, engineer = session["status"]["agents"]
    assert (desk["podUID"], desk["epoch"]) == (engineer["podUID"], engineer["epoch"])
    kill_containers(product, namespace, desk["podName"])
    product.wait_for(
        namespace,
        "calls",
        lambda found: [row["epoch"] for row in found["status"]["agents"]] == [2, 2],
        "with a new pod",
    )
    folder = workspace_of(product, namespace, "calls", DESK)
    assert folder is not None
    (folder / GO).touch()
    return dict(desk)


def changes_of_hands(entries: list[Json]) -> list[float]:
    """Return the seconds from each turn that passed the conversation on to the first entry of the next one's."""
    found, passed_at = [], None
    for before, entry in pairwise(entries):
        if before["type"] == "step_complete":
            passed_at = datetime.fromisoformat(before["at"]), before["agent"]
        if passed_at and entry["agent"] not in {"", passed_at[1]} and entry["step"]:
            found.append((datetime.fromisoformat(entry["at"]) - passed_at[0]).total_seconds())
            passed_at = None
    return found

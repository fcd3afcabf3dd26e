"""What `get` says of a session."""

import pytest

from agentsessions.cli.verbs.get import describe

SPEC = {"type": "Metrics", "goal": "Collect."}
META = {"name": "metrics", "namespace": "ops", "uid": "u", "creationTimestamp": "2026-11-21T12:00:00Z"}


@pytest.mark.parametrize(
    ("phase", "is_said"),
    [
        pytest.param("Running", True, id="status is as old as the phase, and a session may run for hours"),
        pytest.param("Completed", False, id="the last figures are written with the end"),
    ],
)
def test_figures_of_a_running_session_are_said_to_be_old(phase: str, *, is_said: bool) -> None:
    status = {"phase": phase, "usage": {"steps": 0}, "effective": {"maxSteps": 1500}}
    lines = describe({"metadata": META, "spec": SPEC, "status": status}, is_wide=False)
    (spent,) = [value for label, value, _ in lines if label == "Spent"]
    assert spent.startswith("0 of 1500 steps")
    assert ("agentsession top" in spent) is is_said

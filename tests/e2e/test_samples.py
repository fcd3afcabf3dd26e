"""Every file under manifests/samples, applied as it is, reaches the end it is about; and kubectl reads well."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.product import SAMPLES, SYSTEM, Product

pytestmark = pytest.mark.e2e

TEAMS = "teams/"
"""Played by themselves: they have many pods."""
BY_THEMSELVES = (SAMPLES / "lives", SAMPLES / "stories")
"""Played by tests/e2e/test_lives.py and test_stories.py: somebody must act on them."""


@dataclass(frozen=True)
class Expected:
    """What becomes of a sample."""

    session: str = ""
    """The session that it makes; empty for one that cannot run here."""
    result: str = ""
    """Words of its result."""
    entries: frozenset[str] = frozenset()
    """Kinds of journal entries without which the sample did not show what it is about."""
    why_not: str = ""
    """Why it cannot run here: the API server must at least accept it."""


EXPECTED = {
    "fork.yaml": Expected("reckoning-in-french", "La moitié est 21.", frozenset({"source", "tool_result"})),
    "limits.yaml": Expected("limits", "This is what the command printed", frozenset({"tool_result"})),
    "minimal.yaml": Expected("hello", "Your goal was: Say hello."),
    "placement.yaml": Expected("placed", "I am where I was wanted.\nI run on Linux.", frozenset({"tool_result"})),
    "provider-openai.yaml": Expected(why_not="it needs a real key, and a network"),
    "query.yaml": Expected("query", "head,total\nGrace,1390\nAda,460\n[2 rows]", frozenset({"tool_result"})),
    "quota.yaml": Expected("first-in-line", "Your goal was: Say hello."),
    "replay.yaml": Expected("counting-again", "2 steps, no difference", frozenset({"source", "replay_complete"})),
    "retry.yaml": Expected("retry", "Now I have time for it"),
    "sales": Expected("sales-analysis", "Three products lost most revenue", frozenset({"tool_result"})),
    "teams/director.yaml": Expected("director", "Sales: 42 pieces. Stock: 42 pieces.", frozenset({"tool_result"})),
    "teams/handoff.yaml": Expected("handoff", "it says disk full; I made room.", frozenset({"tool_result"})),
    "teams/parallel.yaml": Expected("parallel", "The market is made of:", frozenset({"tool_result"})),
    "teams/sequential.yaml": Expected("sequential", "Edited. Draft: A week has 7 days.", frozenset({"tool_result"})),
    "webhook.yaml": Expected("announced", "Your goal was: Say hello."),
    "with-context.yaml": Expected("with-context", "input/changes.csv", frozenset({"tool_result"})),
    "with-workspace.yaml": Expected("with-workspace", "The disk is mine.", frozenset({"tool_result"})),
}


def find_samples() -> list[Path]:
    """Return what a person applies: each folder with a kustomization as a whole, else each file."""
    folders = {path.parent for path in SAMPLES.rglob("kustomization.yaml")}
    files = {path for path in SAMPLES.rglob("*") if path.is_file() and path.parent not in folders}
    return sorted(folders | {path for path in files if path.parent not in BY_THEMSELVES})


def apply_words(path: Path) -> tuple[str, str]:
    return ("-k" if path.is_dir() else "-f", str(path))


def test_every_sample_has_an_expectation() -> None:
    assert {str(path.relative_to(SAMPLES)) for path in find_samples()} == EXPECTED.keys()


@pytest.mark.requirement("OBJ-1")
def test_samples_reach_the_end_that_they_are_about(product: Product, namespace: str) -> None:
    play(product, namespace, {name: it for name, it in EXPECTED.items() if it.session and not name.startswith(TEAMS)})


@pytest.mark.requirement("AG-3")
def test_samples_of_several_agents_reach_the_end_that_they_are_about(product: Product, namespace: str) -> None:
    play(product, namespace, {name: it for name, it in EXPECTED.items() if name.startswith(TEAMS)})


def play(product: Product, namespace: str, runs: dict[str, Expected]) -> None:
    for name in runs:
        product.kubectl("apply", "-n", namespace, *apply_words(SAMPLES / name))
    for expected in runs.values():
        done = product.wait_phase(namespace, expected.session, "Completed")
        assert done["status"]["stopReason"] == "GoalReached"
        assert expected.result in done["status"]["result"]
        if expected.entries:
            kinds = {entry["type"] for entry in product.entries(namespace, expected.session)}
            assert expected.entries <= kinds


@pytest.mark.parametrize(
    "name", [pytest.param(name, id=f"{name}: {e.why_not}") for name, e in EXPECTED.items() if e.why_not]
)
def test_sample_that_cannot_run_here_is_accepted(product: Product, name: str) -> None:
    done = product.kubectl("apply", "--server-side", "--dry-run=server", "-n", SYSTEM, *apply_words(SAMPLES / name))
    assert done.stdout.splitlines() == [
        "secret/openai serverside-applied (server dry run)",
        "modelprovider.agentsessions.dev/openai serverside-applied (server dry run)",
    ]


@pytest.mark.requirement("OBJ-1")
def test_kubectl_shows_and_finds_sessions(product: Product, namespace: str) -> None:
    product.kubectl("apply", "-n", namespace, "-f", str(SAMPLES / "minimal.yaml"))
    product.create_session(namespace, "waits", goal="Wait.", operatingMode="Paused")
    pod = product.wait_phase(namespace, "hello", "Completed")["status"]["agents"][0]["podName"]
    product.wait_phase(namespace, "waits", "Paused")
    narrow, wide = table(product, namespace, "ags"), table(product, namespace, "ags", "-o", "wide")
    assert narrow[0] == ["NAME", "TYPE", "PHASE", "STEPS", "TOKENS", "REASON", "AGE"]
    assert wide[0] == [*narrow[0], "ROLE", "READY", "COST", "RETRIES", "POD", "OWNER", "TEMPLATE"]
    hello, tokens = narrow[1], int(narrow[1][4])
    assert hello[:4] == ["hello", "Custom", "Completed", "1"]
    assert tokens > 0
    assert hello[5] == "GoalReached"
    assert wide[1][7:] == ["Worker", "True", "0", pod]  # no retry and no owner: empty columns
    assert narrow[2][:3] == ["waits", "Custom", "Paused"]
    assert table(product, namespace, "agents")[0] == narrow[0]
    found = table(product, namespace, "ags", "--field-selector", "status.phase=Completed")
    assert [row[0] for row in found[1:]] == ["hello"]


def table(product: Product, namespace: str, *words: str) -> list[list[str]]:
    """Return what `kubectl get` prints, as words of lines."""
    return [line.split() for line in product.kubectl("get", "-n", namespace, *words).stdout.splitlines()]


def test_kubectl_explains_limits_with_their_defaults(product: Product) -> None:
    text = " ".join(product.kubectl("explain", "agentsession.spec.limits").stdout.split())
    assert "What the session may spend." in text
    for field, told in {
        "maxOutputTokens": "Output tokens of one answer. Default 4,000.",
        "maxSteps": "Model answers over all agents. Default 10.",
        "maxTokens": "Input plus output tokens over all agents. Default 200,000.",
        "maxToolCalls": "Default 100.",
        "timeoutSeconds": "Seconds of work in phase Running. Default 120.",
    }.items():
        assert f"{field} <integer>" in text
        assert told in text

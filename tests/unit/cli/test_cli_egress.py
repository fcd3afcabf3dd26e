"""What `doctor --probe` makes of what its two pods saw, and what they are and do."""

import socket

import pytest

from agentsessions.children.namespace import build_network_policy
from agentsessions.cli.attempt import attempt
from agentsessions.cli.egress import Place, Seen, build_probe, judge
from agentsessions.cli.findings import Level

pytestmark = pytest.mark.requirement("ID-5")

OTHER = ("10.0.0.2", 8080)
PLACE = Place(("10.96.7.7", 443), OTHER, "agentsessions:1", "Never")


@pytest.mark.parametrize(
    ("held", "free", "level", "words"),
    [
        pytest.param(Seen(True, False), Seen(True, True), Level.GOOD, "enforced: ", id="the policy alone closes it"),
        pytest.param(Seen(True, True), Seen(True, True), Level.BAD, "NOT enforced", id="the policy closes nothing"),
        pytest.param(Seen(False, False), Seen(True, True), Level.BAD, "do not reach the", id="it closes too much"),
        pytest.param(Seen(True, False), Seen(True, False), Level.WARNING, "cannot be tried", id="nobody answers there"),
        pytest.param(None, Seen(True, True), Level.WARNING, "did not end", id="the pod under the policy got stuck"),
        pytest.param(Seen(True, False), None, Level.WARNING, "did not end", id="the pod without it got stuck"),
    ],
)
def test_judge_calls_a_policy_enforced_only_on_proof(
    held: Seen | None, free: Seen | None, level: Level, words: str
) -> None:
    finding = judge(held, free, OTHER)
    assert (finding.level, words in finding.text) == (level, True)
    assert bool(finding.todo) is (level is not Level.GOOD)


def test_probe_is_under_the_agents_policy_or_not_and_else_the_same() -> None:
    held, free = (build_probe("probe", PLACE, is_held=is_held) for is_held in (True, False))
    selected = build_network_policy("team", "agentsessions-system")["spec"]["podSelector"]["matchLabels"]
    assert held["metadata"]["labels"] == selected
    assert free["metadata"]["labels"] == {}
    (container,) = held["spec"]["containers"]
    assert held["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    (other,) = free["spec"]["containers"]
    assert {**container, "command": container["command"][:-1]} == {**other, "command": other["command"][:-1]}
    compile(container["command"][2], "attempt", "exec")


def test_attempt_tells_what_takes_connections() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens: refused at once
        here, nowhere = listening.getsockname(), closed.getsockname()
        assert attempt(here, nowhere, 0) == (True, False)
        assert attempt(nowhere, here, 0) == (False, True)

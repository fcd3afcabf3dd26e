"""Commands that follow a session while the gateway, its pod, or the session itself goes: none hangs, each says why."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import pytest

from tests.e2e.commandline import CommandLine, Running, a_place
from tests.e2e.faults import crash, frozen, kill_containers, scale
from tests.e2e.product import SYSTEM, Product
from tests.integration.crds_cluster import an_approval

pytestmark = [pytest.mark.e2e, pytest.mark.requirement("OPS-5")]

GATEWAY = "agentsessions-gateway"
OPERATOR = "agentsessions-operator"
WORK = {
    "when": {"step": 1, "text": "work"},
    "answer": {"toolCalls": [{"name": "shell", "arguments": {"command": "sleep 20; echo worked"}}]},
}
SLOW = {"when": {"text": "slow"}, "answer": {"text": "At last.", "delayMilliseconds": 15_000}}
TALK = {"answer": {"text": "It is done."}}
FOLLOWERS = ["run", "logs", "wait"]
PATIENT = "4m"
TOOL_RUNS = "calls  shell"


@pytest.fixture(scope="module")
def cli(product: Product) -> Iterator[CommandLine]:
    """Return the command line in a namespace with a model that takes its time."""
    with a_place(product) as found:
        found.script(WORK, SLOW, TALK, name="default")
        yield found


def follow(cli: CommandLine, verb: str, name: str, timeout: str = PATIENT) -> tuple[str, ...]:
    """Return the words that follow a session that works; where `run` does not make it, it is made."""
    if verb == "run":
        return ("run", "work", "--follow", "--name", name, "--timeout", timeout, "--max-seconds", "600")
    cli("create", name, "--goal", "work", "--max-seconds", "600")
    more = ("-f",) if verb == "logs" else ()
    return (verb, name, *more, "--timeout", timeout)


def await_sign(cli: CommandLine, running: Running, verb: str, name: str, sign: str) -> None:
    """Wait until the command shows something, where it shows anything; else until the session runs."""
    if verb == "wait":
        cli.product.wait_phase(cli.namespace, name, "Running")
    else:
        running.await_line(sign)


@contextmanager
def all_following(
    cli: CommandLine, verbs: Sequence[str], prefix: str, *, timeout: str = PATIENT, sign: str = TOOL_RUNS
) -> Iterator[dict[str, Running]]:
    """Run each verb after a session of its own, named after it; all have shown the sign when the block begins."""
    with ExitStack() as stack:
        following = {
            verb: stack.enter_context(cli.running(*follow(cli, verb, f"{prefix}-{verb}", timeout))) for verb in verbs
        }
        for verb, running in following.items():
            await_sign(cli, running, verb, f"{prefix}-{verb}", sign)
        yield following


@pytest.mark.alone
def test_followers_go_on_when_the_gateway_is_killed(cli: CommandLine, product: Product) -> None:
    with all_following(cli, FOLLOWERS, "gateway") as following:
        crash(product, SYSTEM, GATEWAY)
        for running in following.values():
            assert running.end() == 0, running.text
    for verb, running in following.items():
        assert "Completed" in running.text
        if verb != "wait":
            assert running.text.count(TOOL_RUNS) == 1, "each entry is told once"
            assert "gets   worked" in running.text


def test_followers_go_on_when_the_pod_is_killed(cli: CommandLine, product: Product) -> None:
    with all_following(cli, FOLLOWERS, "pod") as following:
        for verb in following:
            session = product.session(cli.namespace, f"pod-{verb}")
            (pod,) = product.session_pods(cli.namespace, session["metadata"]["uid"])
            kill_containers(product, cli.namespace, pod.metadata.name)
        for running in following.values():
            assert running.end() == 0, running.text
            assert "Completed" in running.text


def test_followers_end_when_the_session_is_deleted(cli: CommandLine, product: Product) -> None:
    with all_following(cli, FOLLOWERS, "deleted") as following:
        names = [f"deleted-{verb}" for verb in following]
        product.kubectl("delete", "agentsession", *names, "-n", cli.namespace, "--wait=false")
        for verb, running in following.items():
            assert running.end(60) == (0 if verb == "logs" else 1), running.text
            assert "deleted" in running.text


@pytest.mark.slow
@pytest.mark.alone
def test_followers_give_up_in_time_while_the_gateway_is_away(cli: CommandLine, product: Product) -> None:
    verbs = ["run", "logs"]
    with (
        all_following(cli, verbs, "away", timeout="25s", sign="session begins") as following,
        scale(product, SYSTEM, GATEWAY, 0),
    ):
        for running in following.values():
            assert running.end(40) == 124, running.text
    for verb in following:  # who gave up following took nothing from the session
        product.wait_phase(cli.namespace, f"away-{verb}", "Completed")


@pytest.mark.slow
@pytest.mark.alone
def test_chat_goes_on_when_the_gateway_is_killed(cli: CommandLine, product: Product) -> None:
    with cli.running("chat", "--name", "chat-gateway", "--timeout", PATIENT) as running:
        running.type("Hello")
        running.await_line("It is done.")
        running.type("slow")
        product.wait_phase(cli.namespace, "chat-gateway", "Running")
        crash(product, SYSTEM, GATEWAY)
        running.type("/close")
        assert running.end() == 0, running.text
    assert "At last." in running.text


@pytest.mark.slow
def test_chat_goes_on_when_the_pod_is_killed(cli: CommandLine, product: Product) -> None:
    with cli.running("chat", "--name", "chat-pod", "--timeout", PATIENT) as running:
        running.type("slow")
        session = product.wait_phase(cli.namespace, "chat-pod", "Running")
        (pod,) = product.session_pods(cli.namespace, session["metadata"]["uid"])
        kill_containers(product, cli.namespace, pod.metadata.name)
        running.type("/close")
        assert running.end() == 0, running.text
    assert "At last." in running.text


def test_chat_ends_when_the_session_is_deleted(cli: CommandLine, product: Product) -> None:
    with cli.running("chat", "--name", "chat-deleted", "--timeout", PATIENT) as running:
        running.type("slow")
        product.wait_phase(cli.namespace, "chat-deleted", "Running")
        product.kubectl("delete", "agentsession", "chat-deleted", "-n", cli.namespace, "--wait=false")
        assert running.end(90) == 1, running.text
    assert "does not answer any more" in running.text or "no session" in running.text


@pytest.mark.alone
def test_call_in_doubt_is_settled(cli: CommandLine, product: Product) -> None:
    cli("create", "doubtful", "--open")
    uid = json.loads(cli("get", "doubtful", "-o", "json").stdout)["metadata"]["uid"]
    asked = an_approval("did-it", kind="Doubt", tool="pay")
    owner = {"apiVersion": "agentsessions.dev/v1alpha1", "kind": "AgentSession", "name": "doubtful", "uid": uid}
    asked["metadata"]["ownerReferences"] = [{**owner, "controller": True}]
    asked["spec"]["session"] = "doubtful"
    operator = f"system:serviceaccount:{SYSTEM}:{OPERATOR}"
    with frozen(product, SYSTEM, OPERATOR):  # it would withdraw what no agent asked
        product.kubectl("create", "-f", "-", "-n", cli.namespace, "--as", operator, stdin=json.dumps(asked))
        assert "settle did-it" in cli("approvals").stderr
        assert "is of kind Doubt" in cli.refused("approve", "did-it")
        assert "says Happened" in cli("settle", "did-it", "--happened", "it was paid").stdout
    cli("cancel", "doubtful")

"""A gateway that is killed in the middle of calls of a real tool server: people say what became of them."""

from __future__ import annotations

import json
import urllib.request

import pytest

from tests.e2e.commandline import CommandLine
from tests.e2e.faults import replace, until
from tests.e2e.product import SYSTEM, Json, Product
from tests.e2e.test_kinds import condition
from tests.e2e.test_lives import live_pods
from tests.e2e.test_tool_servers import ask_for, calls_of, provide, serve_shelf

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

GATEWAY = "agentsessions-gateway"
SEEN = "it waited, at 12:03"


def doubts(product: Product, namespace: str) -> dict[str, Json]:
    """Return the questions of a namespace by session."""
    found = json.loads(product.kubectl("get", "sap", "-n", namespace, "-o", "json").stdout)["items"]
    assert all(one["spec"]["request"]["kind"] == "Doubt" for one in found)
    return {one["spec"]["session"]: one for one in found}


def let_go(url: str) -> None:
    request = urllib.request.Request(f"{url}/go", method="POST")  # noqa: S310  # http, of this test
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310  # likewise


@pytest.mark.requirement("LIFE-11")
@pytest.mark.requirement("POL-2")
def test_a_call_in_doubt_waits_for_a_person_and_happens_as_often_as_they_say(
    product: Product, namespace: str, host: str
) -> None:
    with serve_shelf(host) as url:
        provide(product, namespace, url, "wait", side_effect="External")
        product.create_script(
            namespace,
            "script",
            {"when": {"step": 1}, "answer": ask_for("shelf__wait")},
            {"answer": {"text": "It came to: ${result[-1]}"}},
        )
        tools = [{"serverRef": {"name": "shelf"}, "allow": ["wait"]}]
        agent = {"name": "agent", "model": {"providerRef": {"name": "script"}}, "tools": tools}
        for name in ("done", "undone"):
            product.create_session(namespace, name, goal="Wait.", agents=[agent])
        until(lambda: len(calls_of(url)) == 2, "both calls are under way")
        replace(product, SYSTEM, GATEWAY)
        waiting = {name: product.wait_phase(namespace, name, "Waiting") for name in ("done", "undone")}
        let_go(url)
        for session in waiting.values():
            ready = condition(session, "Ready")
            assert ready["reason"] == "InDoubt"
            assert "nobody saw its end: it may have happened; say what became of it" in ready["message"]
            until(lambda session=session: live_pods(product, namespace, session) == [], "its pod is released")
        asked = doubts(product, namespace)
        assert "nobody knows whether it happened" in asked["done"]["spec"]["request"]["message"]
        assert len(calls_of(url)) == 2, "nothing is made twice by itself"

        cli = CommandLine(product, namespace)
        assert asked["done"]["metadata"]["name"] in cli("approvals").stdout
        cli("settle", asked["done"]["metadata"]["name"], "--happened", SEEN)
        role = "--clusterrole=agentsessions-session-operator"
        product.kubectl("create", "rolebinding", "sam", "-n", namespace, role, "--user=sam")
        words = ("patch", "sap", asked["undone"]["metadata"]["name"], "-n", namespace, "--type=merge", "--as", "sam")
        product.kubectl(*words, "-p", json.dumps({"spec": {"decisions": {"sam": {"answer": "RunAgain"}}}}))

        done = product.wait_phase(namespace, "done", "Completed")
        undone = product.wait_phase(namespace, "undone", "Completed")
        made = calls_of(url)
    assert done["status"]["result"] == f"It came to: {SEEN}"
    assert undone["status"]["result"] == "It came to: waited"
    assert len(made) == 3, "of the two, one was made again"
    for name, words in (("done", SEEN), ("undone", "waited")):
        entries = product.entries(namespace, name)
        assert [e["body"]["output"] for e in entries if e["type"] == "tool_result"] == [words]
        told = [e["body"]["outcome"] for e in entries if e["type"] == "approval"]
        assert told == ["Pending", "Happened" if name == "done" else "RunAgain"]

"""Sessions that a director's agents start, on real pods: made once, paid by the director, ended with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.faults import kill_and_delete, until
from tests.e2e.product import SAMPLES, SYSTEM, Json, Product

pytestmark = pytest.mark.e2e

STARTS: list[Json] = [
    {
        "when": {"text": "^Lead", "step": 1},
        "answer": {
            "toolCalls": [
                {"name": "start_session", "arguments": {"name": name, "goal": f"Work on {name}."}}
                for name in ("a", "b")
            ]
        },
    },
    {"when": {"text": "^Lead"}, "answer": {"text": "I wait."}},
    {"when": {"text": "^Work"}, "answer": {"text": "Done.", "delayMilliseconds": 600_000}},
]
"""A director whose children do not end by themselves."""


def children_of(product: Product, namespace: str, director: str) -> dict[str, Any]:
    mine = ("-l", f"agentsessions.dev/session={director}", "-o", "json")
    listed = json.loads(product.kubectl("get", "ags", "-n", namespace, *mine).stdout)
    return {one["metadata"]["name"]: one for one in listed["items"]}


@pytest.mark.requirement("OBJ-4")
def test_director_starts_sessions_and_reads_what_came_of_them(product: Product, namespace: str) -> None:
    product.kubectl("apply", "-n", namespace, "-f", str(SAMPLES / "lives" / "child-sessions.yaml"))
    director = product.wait_phase(namespace, "newsroom", "Completed")
    assert director["status"]["result"] == "The story is told."
    children = children_of(product, namespace, "newsroom")
    numbers, quotes = (children[name] for name in sorted(children))
    assert len(children) == 2
    assert numbers["status"]["result"] == "The number is 42."
    assert quotes["status"]["result"] == "They said: Ask the neighbours."
    assert quotes["status"]["templateRevision"]
    for child in (numbers, quotes):
        assert child["metadata"]["ownerReferences"][0]["uid"] == director["metadata"]["uid"]
        assert child["spec"]["directorRef"] == {"name": "newsroom"}
    assert numbers["spec"]["limits"]["maxTokens"] == 50_000
    spent = director["status"]["usage"]["childSessions"]
    usages = [child["status"]["usage"] for child in (numbers, quotes)]
    assert spent["started"] == 2
    assert spent["steps"] == sum(usage["steps"] for usage in usages)
    assert spent["totalTokens"] == sum(usage["totalTokens"] for usage in usages)
    left = 200_000 - spent["totalTokens"] - director["status"]["usage"]["totalTokens"]
    assert director["status"]["remaining"]["tokens"] == left
    with product.gateway() as gateway:
        came = gateway.get("/newsroom/mailbox", namespace=namespace)["items"]
    assert sorted(one["sender"] for one in came) == sorted(children)
    assert {one["kind"] for one in came} == {"PROGRESS_REPORT"}


@pytest.mark.alone
@pytest.mark.requirement("LIFE-7")
@pytest.mark.requirement("LIFE-11")
def test_children_stand_still_and_end_with_their_director(product: Product, namespace: str) -> None:
    product.create_script(namespace, "team", *STARTS)
    product.create_session(
        namespace,
        "boss",
        role="Director",
        goal="Lead.",
        childSessions={"max": 2},
        limits={"timeoutSeconds": 600},
        shutdown={"gracePeriodSeconds": 1},
        pausePolicy={"boundary": "Immediate"},
        agents=[{"name": "lead", "model": {"providerRef": {"name": "team"}}}],
    )
    # The operator dies somewhere around making them.
    until(lambda: children_of(product, namespace, "boss"), "the first child is there")
    kill_and_delete(product, SYSTEM, "agentsessions-operator")
    until(lambda: len(children_of(product, namespace, "boss")) == 2, "both children are there")
    names = sorted(children_of(product, namespace, "boss"))
    for name in names:
        product.wait_phase(namespace, name, "Running")
    product.wait_phase(namespace, "boss", "Idle", "Running")

    product.patch_session(namespace, "boss", operatingMode="Paused")
    for name in ("boss", *names):
        product.wait_phase(namespace, name, "Paused")
    product.patch_session(namespace, "boss", operatingMode="Running")
    for name in names:
        product.wait_phase(namespace, name, "Running")

    product.patch_session(namespace, "boss", operatingMode="Cancelled")
    ended = product.wait_phase(namespace, "boss", "Cancelled")
    children = children_of(product, namespace, "boss")
    assert sorted(children) == names, "no third one was made"
    assert {child["status"]["phase"] for child in children.values()} == {"Cancelled"}
    versions = [int(one["metadata"]["resourceVersion"]) for one in (*children.values(), ended)]
    assert max(versions) == versions[-1], "the director's end was written last"
    product.kubectl("delete", "ags", "boss", "-n", namespace)
    until(lambda: not children_of(product, namespace, "boss"), "the collector took them along")

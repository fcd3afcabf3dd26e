"""Conversations that are disturbed: messages in bursts around an epoch's end, pauses, lost pods, a lost gateway."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.e2e.faults import replace, until
from tests.e2e.product import LONG_SECONDS, SYSTEM, Json, Product

pytestmark = pytest.mark.e2e

NAME = "talk"
PATH = f"/api/v1/agent-sessions/{NAME}/messages"
SPEAKER = "speaker"
ECHO = {"answer": {"text": "You said: ${text}"}}
BURST = 25


class Talk:
    """One session, and somebody who talks with it."""

    def __init__(self, product: Product, namespace: str, http: httpx2.Client) -> None:
        self.product = product
        self.namespace = namespace
        self._http = http

    def say(self, content: str, key: str | None = None) -> Json:
        body = {"content": content, **({"idempotencyKey": key} if key else {})}
        answer = self._http.post(PATH, params={"namespace": self.namespace}, json=body)
        assert answer.status_code == 201, answer.text
        stored: Json = answer.json()
        return stored

    def messages(self) -> list[Json]:
        sent = {"namespace": self.namespace, "role": "user"}
        found: list[Json] = self._http.get(PATH, params=sent).json()["items"]
        return found

    def await_answers(self, count: int) -> None:
        def are_answered() -> bool:
            return [message["state"] for message in self.messages()] == ["answered"] * count

        until(are_answered, f"{count} messages are answered")

    def said(self) -> list[str]:
        """Return what the journal holds of it, in order."""
        entries = self.product.entries(self.namespace, NAME)
        return [entry["body"]["content"] for entry in entries if entry["type"] == "message"]

    def wait_phase(self, *phases: str) -> Json:
        return self.product.wait_phase(self.namespace, NAME, *phases)

    def epoch(self) -> int:
        (row,) = self.product.session(self.namespace, NAME)["status"]["agents"]
        return int(row["epoch"])

    def await_wait(self) -> None:
        """Wait until the pod has nothing to do: its last turn is committed, and it runs."""
        with self.product.gateway() as gateway:
            until(
                lambda: gateway.get(f"/{NAME}", namespace=self.namespace)["usage"]["turns"] == len(self.messages()),
                "all turns are committed",
            )
        self.wait_phase("Running")

    def close(self) -> None:
        self.product.patch_session(self.namespace, NAME, conversation={"open": False})
        self.wait_phase("Completed")


@contextmanager
def talking(product: Product, namespace: str, idle_seconds: int) -> Iterator[Talk]:
    """Open a conversation."""
    product.create_script(namespace, "echo", ECHO)
    product.create_session(
        namespace,
        NAME,
        conversation={"open": True, "idleSeconds": idle_seconds},
        limits={"maxSteps": 100, "timeoutSeconds": 600},
        agents=[{"name": "echo", "model": {"providerRef": {"name": "echo"}}}],
    )
    product.wait_phase(namespace, NAME, "Idle")
    product.kubectl("create", "serviceaccount", SPEAKER, "-n", namespace)
    binding = ("create", "rolebinding", SPEAKER, "--clusterrole=edit", f"--serviceaccount={namespace}:{SPEAKER}")
    product.kubectl(*binding, "-n", namespace)
    with product.gateway(product.token_of(namespace, SPEAKER)) as gateway:
        yield Talk(product, namespace, gateway.http)


@pytest.mark.requirement("LIFE-8")
@pytest.mark.requirement("CONV-1")
def test_messages_in_bursts_are_each_taken_once_and_in_order(product: Product, namespace: str) -> None:
    with talking(product, namespace, idle_seconds=0) as talk:
        wanted = []
        for burst in range(3):  # each one meets an epoch that begins, plays, or ends
            for number in range(BURST):
                wanted.append(f"{burst}.{number}")
                talk.say(wanted[-1], key=wanted[-1])
                talk.say(wanted[-1], key=wanted[-1])
            until(lambda: talk.messages()[0]["state"] == "answered", "the first one is answered")
        talk.await_answers(len(wanted))
        assert [message["content"] for message in talk.messages()] == wanted
        talk.close()
        assert talk.said() == wanted


@pytest.mark.requirement("LIFE-4")
@pytest.mark.requirement("LIFE-8")
def test_waiting_conversation_pauses_at_once_and_answers_on_resume(product: Product, namespace: str) -> None:
    with talking(product, namespace, idle_seconds=600) as talk:
        talk.say("one")
        talk.await_answers(1)
        talk.await_wait()
        product.patch_session(namespace, NAME, operatingMode="Paused")
        paused = talk.wait_phase("Paused")
        assert paused["status"]["usage"]["idleSeconds"] < LONG_SECONDS
        talk.say("two")
        assert talk.messages()[1]["state"] == "queued"
        product.patch_session(namespace, NAME, operatingMode="Running")
        talk.await_answers(2)
        assert talk.epoch() == 2
        talk.close()


@pytest.mark.requirement("LIFE-8")
@pytest.mark.requirement("LIFE-11")
def test_lost_pod_of_a_waiting_conversation_is_replaced_for_the_next_message(product: Product, namespace: str) -> None:
    with talking(product, namespace, idle_seconds=600) as talk:
        talk.say("one")
        talk.await_answers(1)
        talk.await_wait()
        (pod,) = product.session_pods(namespace, product.session(namespace, NAME)["metadata"]["uid"])
        product.core.delete_namespaced_pod(pod.metadata.name, namespace, grace_period_seconds=0)
        talk.say("two")
        talk.await_answers(2)
        talk.close()
        assert talk.said() == ["one", "two"]


@pytest.mark.alone  # others need the gateway
@pytest.mark.requirement("LIFE-8")
@pytest.mark.requirement("LIFE-11")
def test_waiting_pod_outlives_the_gateway(product: Product, namespace: str) -> None:
    with talking(product, namespace, idle_seconds=600) as talk:
        talk.say("one")
        talk.await_answers(1)
        talk.await_wait()
    replace(product, SYSTEM, "agentsessions-gateway")
    with product.gateway(product.token_of(namespace, SPEAKER)) as gateway:
        talk = Talk(product, namespace, gateway.http)
        talk.say("two")
        talk.await_answers(2)
        assert talk.epoch() == 1
        talk.close()


@pytest.mark.slow
@pytest.mark.requirement("OBJ-2")
def test_rounds_that_are_far_apart_hold_no_pod_between(product: Product, namespace: str) -> None:
    product.create_script(namespace, "echo", ECHO)
    product.create_session(
        namespace,
        NAME,
        type="Metrics",
        goal="Measure.",
        schedule={"intervalSeconds": 65, "durationSeconds": 130},
        agents=[{"name": "echo", "model": {"providerRef": {"name": "echo"}}}],
    )
    idle = product.wait_phase(namespace, NAME, "Idle")
    assert idle["status"]["round"]["number"] == 1
    until(lambda: not product.session_pods(namespace, idle["metadata"]["uid"]), "no pod is left")
    done = product.wait_phase(namespace, NAME, "Completed")
    assert done["status"]["round"] == {"number": 2, "completed": 2, "missed": 0}
    assert done["status"]["agents"][0]["epoch"] == 2

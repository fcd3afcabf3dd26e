"""Talking with one session: say something, see the answer as it is written, break it off."""

import uuid
from collections.abc import Iterator
from typing import Any, Final

from agentsessions.cli.connection import Connection
from agentsessions.cli.failures import Failure
from agentsessions.cli.kube import SESSIONS, KubeError
from agentsessions.cli.terminal import clean, note, one_line, say
from agentsessions.client.errors import ApiError
from agentsessions.client.values import FINAL_PHASES, Event

Json = dict[str, Any]
ANSWERED: Final = "answered"
ARGUMENT_CHARS: Final = 120
PAST_MESSAGES: Final = 10
UNKNOWN: Final = 404


class Answer:
    """Prints an answer once, whether it comes in pieces, whole, or both."""

    def __init__(self) -> None:
        self._written = 0

    def add(self, body: Json) -> None:
        """Print a piece of an answer under way; what was missed of it comes with the whole."""
        offset, text = int(body.get("offset", self._written)), str(body.get("text", ""))
        if offset == self._written:
            say(clean(text), end="")
            self._written += len(text)

    def end(self, text: str) -> None:
        """Print what is missing of an answer, and end its line."""
        say(clean(text[self._written :]))
        self._written = 0

    def break_off(self) -> None:
        """End the line of an answer that does not go on."""
        if self._written:
            say()
        self._written = 0


class Talk:
    """A conversation with one session."""

    def __init__(self, connection: Connection, session: Json) -> None:
        self._connection = connection
        self.name: str = session["metadata"]["name"]
        self.uid: str = session["metadata"]["uid"]
        self._seen = 0
        self._is_paused = False

    def past(self) -> list[Event]:
        """Return what was said so far, and stand behind it."""
        try:
            head = self._connection.gateway.get(self.uid).head
        except ApiError as error:
            if error.status != UNKNOWN:
                raise
            return []  # so new that the journal does not know it
        events = self._connection.gateway.stream(self.uid) if head else iter(())
        said = []
        for event in events:
            self._seen = event.seq or self._seen
            if event.type in {"message", "output"}:
                said.append(event)
            if self._seen >= head:
                break
        return said[-PAST_MESSAGES:]

    def ask(self, text: str) -> None:
        """Say something and print the answer.

        Raises:
            Failure: There will be none: the session is over or was deleted.
        """
        if self._is_paused:
            self._set_mode("Running")
            self._is_paused = False
        said = self._connection.gateway.send(self.uid, text, key=str(uuid.uuid4()))
        answer = Answer()
        for event in self._events():
            self._show(event, answer)
            if event.type == "state" and event.body.get("phase") in FINAL_PHASES:
                break
            if event.type == "step_complete" and self._is_answered(said.id):
                return
        answer.break_off()
        if not self._is_answered(said.id):
            raise Failure(f"session {self.name!r} is over, or was deleted: it does not answer any more")

    def interrupt(self) -> None:
        """Break the present turn off: the session pauses, and goes on with the next message."""
        say()
        try:
            self._set_mode("Paused", pausePolicy={"boundary": "Immediate"})
        except KubeError as error:
            note(f"the answer goes on unseen: {error}")
            return
        self._is_paused = True
        note("broken off: the session is paused; what you say next lets it go on, /quit leaves it paused")

    def close(self) -> None:
        """End the conversation: the session completes."""
        self._patch({"conversation": {"open": False}})

    def _events(self) -> Iterator[Event]:
        for event in self._connection.gateway.stream(self.uid, after=self._seen):
            self._seen = event.seq or self._seen
            yield event

    def _show(self, event: Event, answer: Answer) -> None:
        match event.type:
            case "delta":
                answer.add(event.body)
            case "output":
                answer.end(event.text)
            case "tool_call":
                answer.break_off()
                shown = one_line(f"{event.body.get('name', '')} {event.body.get('arguments', '')}")
                note(f"  · {shown[:ARGUMENT_CHARS]}")
            case "error":
                answer.break_off()
                note(f"  {one_line(event.text)}")
            case _:
                pass

    def _is_answered(self, message: str) -> bool:
        return self._connection.gateway.message(self.uid, message).state == ANSWERED

    def _set_mode(self, mode: str, **spec: Any) -> None:
        self._patch({"operatingMode": mode, **spec})

    def _patch(self, spec: Json) -> None:
        meant = {"metadata": {"uid": self.uid}, "spec": spec}
        self._connection.kube.patch(SESSIONS, self._connection.namespace, self.name, meant)

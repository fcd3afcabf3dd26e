"""What takes more than one request: written once, as generators that yield what to send and get its answer.

`Client` and `AsyncClient` run them; a yielded `Pause` is waited out.
"""

import time
import uuid
from collections.abc import Collection, Generator
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from agentsessions.client import calls
from agentsessions.client.calls import Call
from agentsessions.client.errors import SessionEnded, TimedOut
from agentsessions.client.values import Json, Message, Outcome, Reply, Session, SessionItem, Step

LOOK_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 60
"""How long the gateway is asked to hold an answer back; below what proxies bear."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Time to let go by."""

    seconds: float


T = TypeVar("T")
Plan = Generator[Call[Any] | Pause, Any, T]


def wait(namespace: str, session: str, phases: Collection[str], timeout: float | None) -> Plan[Session]:
    """Look at a session until it is in one of `phases`.

    Raises:
        SessionEnded: It reached another final phase, or was deleted.
        TimedOut: It did not get there in time.
    """
    ends_at = None if timeout is None else time.monotonic() + timeout
    while True:
        found: Session = yield calls.get_session(namespace, session)
        if found.phase in phases:
            return found
        if found.is_final:
            how = f"ended {found.phase}" if found.deleted_at is None else "was deleted"
            raise SessionEnded(f"session {found.namespace}/{found.name} {how}", found.phase)
        if ends_at is not None and time.monotonic() >= ends_at:
            raise TimedOut(f"session {found.namespace}/{found.name} is still {found.phase} after {timeout:g} s")
        yield Pause(LOOK_SECONDS if ends_at is None else max(0.0, min(LOOK_SECONDS, ends_at - time.monotonic())))


def outcome(namespace: str, session: str) -> Plan[Outcome]:
    """Read how a session ended."""
    found: Session = yield calls.get_session(namespace, session)
    steps = yield from all_steps(namespace, session)
    said = [step.output for step in steps if step.type == "output" and step.output]
    return Outcome(session=found, output=said[-1] if said else "", steps=steps)


def all_steps(namespace: str, session: str) -> Plan[list[Step]]:
    """Read every page of steps."""
    found: list[Step] = []
    after: int | None = 0
    while after is not None:
        page = yield calls.list_steps(namespace, session, after)
        found += page.items
        after = page.next
    return found


def all_messages(namespace: str, session: str) -> Plan[list[Message]]:
    """Read every page of messages."""
    found: list[Message] = []
    after: int | None = 0
    while after is not None:
        page = yield calls.list_messages(namespace, session, after)
        found += page.items
        after = page.next
    return found


def all_sessions(namespace: str, filters: Json) -> Plan[list[SessionItem]]:
    """Read every page of sessions."""
    found: list[SessionItem] = []
    cursor: str | None = None
    while True:
        page = yield calls.list_sessions(namespace, {"limit": calls.MOST, **filters, "cursor": cursor})
        found += page.items
        cursor = page.next
        if cursor is None:
            return found


@dataclass(slots=True)
class Talk:
    """What both kinds of conversation keep: to whom, and how a new session is to be."""

    namespace: str
    session: str | None
    """Name or uid; None before the first message made it."""
    new: Json
    """Fields of the request that count when a session is made."""

    def say(self, text: str, timeout: float, given_key: str | None = None) -> Plan[Reply]:
        """Say something and wait for the answer.

        Raises:
            TimedOut: There was no answer in time. What was said stays said; the answer comes later.
        """
        key, ends_at = given_key or str(uuid.uuid4()), time.monotonic() + timeout
        while True:
            left = ends_at - time.monotonic()
            where = {"session": self.session} if self.session else self.new
            body = {**where, "message": text, "waitSeconds": max(0, min(LONGEST_WAIT_SECONDS, round(left)))}
            reply: Reply = yield calls.converse(self.namespace, body, key)
            self.session = reply.uid
            if reply.reply is not None:
                return reply
            if time.monotonic() >= ends_at:
                raise TimedOut(f"session {reply.namespace}/{reply.session} did not answer within {timeout:g} s")


def begin_talk(namespace: str, session: str | None, new: Json) -> Talk:
    """Begin a conversation, with a session that is there or one to be made.

    An own id makes a new session the same one when the first message is sent again.
    """
    given = {"sessionId": f"conversation-{uuid.uuid4()}", **{key: value for key, value in new.items() if value}}
    return Talk(namespace, session, given)

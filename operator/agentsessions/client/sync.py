"""The client for ordinary code."""

import ssl
import time
from collections.abc import Collection, Generator, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx2

from agentsessions.client import calls, plans
from agentsessions.client.calls import Call
from agentsessions.client.errors import ApiError
from agentsessions.client.figures import Comparison, Health, Imported, Metrics, Performance, Stats
from agentsessions.client.settings import Settings, Token
from agentsessions.client.tries import Request, Stream
from agentsessions.client.values import (
    FINAL_PHASES,
    Event,
    Json,
    Message,
    Messages,
    Outcome,
    Reply,
    Session,
    SessionItem,
    Steps,
    Verification,
)

T = TypeVar("T")


class Client:
    """Talks to the gateway. Sessions are named by name (the newest of it) or uid.

    What passes (a gateway that restarts, 429, 503) is tried again for a while; every other refusal is an `ApiError`.
    """

    def __init__(
        self,
        url: str,
        token: Token,
        *,
        namespace: str = "default",
        ca: str | Path | ssl.SSLContext | None = None,
        timeout: float = 150.0,
        retry_seconds: float = 30.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        """Make a client; nothing is sent yet.

        Args:
            url: The gateway's address, such as `https://agentsessions-gateway.agentsessions-system`.
            token: Bearer token of the API server's users, or what returns one as it is at that moment.
            namespace: Namespace of sessions where a call names none.
            ca: The gateway's CA: a file, its content, or a TLS context; by default what the machine trusts.
            timeout: Seconds that one request may take.
            retry_seconds: Seconds for which a request is tried again.
            transport: Another way for the bytes.
        """
        self._settings = Settings(
            url=url, token=token, namespace=namespace, ca=ca, timeout=timeout, retry_seconds=retry_seconds
        )
        verify = self._settings.trust() if transport is None else False
        self._http = httpx2.Client(
            base_url=url, verify=verify, timeout=timeout, transport=transport, trust_env=transport is None
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- sessions

    def create(self, goal: str | None = None, *, namespace: str | None = None, **spec: Any) -> Session:
        """Create a session and return it at once.

        Args:
            goal: What the agents are to reach.
            namespace: Where.
            spec: Further fields of the spec in the API's names (`limits={"maxSteps": 5}`), `name` and `labels`.
        """
        body = {**({"goal": goal} if goal is not None else {}), **spec}
        return self._send(calls.create_session(self._in(namespace), body))

    def execute(self, goal: str, *, namespace: str | None = None, timeout: float | None = None, **spec: Any) -> Outcome:
        """Create a session, wait until it is over, and return how it ended.

        Raises:
            TimedOut: It goes on after `timeout` seconds.
        """
        made = self.create(goal, namespace=namespace, **spec)
        for _ in self.stream(made.uid, namespace=made.namespace, timeout=timeout):
            pass
        self.wait(made.uid, FINAL_PHASES, namespace=made.namespace, timeout=timeout)
        return self._run(plans.outcome(made.namespace, made.uid))

    def list(self, *, namespace: str | None = None, **filters: Any) -> list[SessionItem]:
        """List sessions (`phase`, `type`, `role`, `owner`, `text`, `sort`, `deleted` filter); namespace `*` is all."""
        return self._run(plans.all_sessions(self._in(namespace), filters))

    def count(self, *, namespace: str | None = None, **filters: Any) -> int:
        """Count sessions."""
        return (self._send(calls.list_sessions(self._in(namespace), {**filters, "limit": 1}))).total

    def get(self, session: str, *, namespace: str | None = None) -> Session:
        """Read one session, also after its resource was deleted."""
        return self._send(calls.get_session(self._in(namespace), session))

    def patch(self, session: str, changes: Json, *, namespace: str | None = None) -> Session:
        """Change a session by a merge patch of its spec's fields, in the API's names."""
        return self._send(calls.patch_session(self._in(namespace), session, changes))

    def clone(self, session: str, wanted: Json | None = None, *, namespace: str | None = None) -> Session:
        """Create a session that goes on from another one: `wanted` has atStep, history, replay, overrides, name."""
        return self._send(calls.clone_session(self._in(namespace), session, wanted or {}))

    def pause(self, session: str, *, namespace: str | None = None) -> Session:
        """Ask a session to pause after its present step."""
        return self._send(calls.act_on_session(self._in(namespace), session, "pause"))

    def resume(self, session: str, *, namespace: str | None = None) -> Session:
        """Let a paused session go on."""
        return self._send(calls.act_on_session(self._in(namespace), session, "resume"))

    def cancel(self, session: str, *, reason: str | None = None, namespace: str | None = None) -> Session:
        """End a session for good."""
        body = {"reason": reason} if reason else {}
        return self._send(calls.act_on_session(self._in(namespace), session, "cancel", body))

    def shutdown(self, session: str, *, forced: bool = False, namespace: str | None = None, **how: Any) -> Session:
        """End a session for good, saying how (`reason`, `gracePeriodSeconds`)."""
        body = {"mode": "forced" if forced else "graceful", **how}
        return self._send(calls.act_on_session(self._in(namespace), session, "shutdown", body))

    def delete(self, session: str, *, namespace: str | None = None) -> None:
        """Delete a session's resource; its journal stays."""
        self._send(calls.delete_session(self._in(namespace), session))

    def wait(
        self,
        session: str,
        phases: Collection[str] = FINAL_PHASES,
        *,
        namespace: str | None = None,
        timeout: float | None = None,
    ) -> Session:
        """Wait until a session is in one of `phases`.

        Raises:
            SessionEnded: It reached another final phase, or was deleted.
            TimedOut: It did not get there within `timeout` seconds.
        """
        return self._run(plans.wait(self._in(namespace), session, phases, timeout))

    # --- what was said and done

    def steps(self, session: str, *, namespace: str | None = None) -> Steps:
        """Read what the agents thought, did and said."""
        return self._run(plans.all_steps(self._in(namespace), session))

    def messages(self, session: str, *, namespace: str | None = None) -> Messages:
        """Read the conversation."""
        return self._run(plans.all_messages(self._in(namespace), session))

    def message(self, session: str, message: str, *, namespace: str | None = None) -> Message:
        """Read one message."""
        return self._send(calls.get_message(self._in(namespace), session, message))

    def send(self, session: str, text: str, *, key: str | None = None, namespace: str | None = None) -> Message:
        """Say something to a session. It is stored for good when this returns; under a key, once."""
        return self._send(calls.create_message(self._in(namespace), session, text, key))

    def conversation(self, session: str | None = None, *, namespace: str | None = None, **new: Any) -> "Conversation":
        """Begin to talk, with a session that is there or a new one.

        Args:
            session: Name or uid; without it a session is made at the first message.
            namespace: Where.
            new: How a new session is to be, in the API's names: `title`, `agent`, `systemOverride`, `maxHistory`,
                `context`, `limits`.
        """
        return Conversation(self, plans.begin_talk(self._in(namespace), session, new))

    def verify(self, session: str, *, namespace: str | None = None) -> Verification:
        """Check a session's hash chain."""
        return self._send(calls.verify(self._in(namespace), session))

    def stream(
        self, session: str, *, after: int = 0, namespace: str | None = None, timeout: float | None = None
    ) -> Iterator[Event]:
        """Yield what happened in a session, then what happens, until it is over; each entry once, in order.

        A connection that breaks is made again where it stood.

        Raises:
            TimedOut: It goes on after `timeout` seconds.
        """
        where = self._in(namespace)
        yield from self._follow(
            Stream(self._settings, lambda seen: calls.stream_events(where, session, seen), after, timeout)
        )

    def replay(
        self, session: str, *, speed: float | None = None, after: int = 0, namespace: str | None = None
    ) -> Iterator[Event]:
        """Yield what happened in a session at the pace at which it happened, or `speed` times as fast."""
        where = self._in(namespace)
        yield from self._follow(
            Stream(self._settings, lambda seen: calls.stream_replay(where, session, seen, speed), after, None)
        )

    # --- figures, and whole sessions

    def stats(self, *, namespace: str | None = None) -> Stats:
        """Count sessions by type, role and phase."""
        return self._send(calls.get_stats(self._in(namespace)))

    def metrics(self, period: str = "7d", *, namespace: str | None = None) -> Metrics:
        """Sum up the sessions of a period such as `24h` or `7d`."""
        return self._send(calls.get_metrics(self._in(namespace), period))

    def health(self, session: str, *, namespace: str | None = None) -> Health:
        """Say how a session fares, and why."""
        return self._send(calls.get_health(self._in(namespace), session))

    def performance(self, session: str, *, namespace: str | None = None) -> Performance:
        """Say what a session achieved, and how fast."""
        return self._send(calls.get_performance(self._in(namespace), session))

    def compare(self, left: str, right: str, *, namespace: str | None = None) -> Comparison:
        """Lay two sessions side by side; one of another namespace is `namespace/name`."""
        return self._send(calls.compare(self._in(namespace), left, right))

    def export(self, session: str, *, namespace: str | None = None) -> bytes:
        """Read a whole session as a document that `import_` takes."""
        return self._send(calls.export_session(self._in(namespace), session))

    def import_(self, document: bytes, *, namespace: str | None = None) -> Imported:
        """Store an exported session."""
        return self._send(calls.import_session(self._in(namespace), document))

    # --- how

    def _in(self, namespace: str | None) -> str:
        return namespace or self._settings.namespace

    def _run(self, plan: Generator[Call[Any] | plans.Pause, Any, T]) -> T:
        answer: Any = None
        try:
            while True:
                step = plan.send(answer)
                if isinstance(step, plans.Pause):
                    time.sleep(step.seconds)
                    answer = None
                else:
                    answer = self._send(step)
        except StopIteration as end:
            found: T = end.value
            return found

    def _send(self, call: Call[T]) -> T:
        request = Request(self._settings, call)
        while True:
            try:
                answer = self._http.request(**request.to_send())
            except httpx2.TransportError as error:
                pause = request.pause_after(error)
            else:
                if answer.is_success:
                    return request.read(answer)
                pause = request.pause_after_refusal(answer)
            time.sleep(pause)

    def _follow(self, stream: Stream) -> Iterator[Event]:
        while not stream.is_over:
            try:
                with self._http.stream(**stream.to_send()) as answer:
                    if not answer.is_success:
                        answer.read()
                    stream.note_open(answer)
                    for line in answer.iter_lines():
                        event = stream.take(line)
                        if event is not None:
                            yield event
                        if stream.must_reconnect(line):
                            break
                pause = stream.pause_after_end()
            except (httpx2.TransportError, ApiError) as error:
                pause = stream.pause_after(error)
            time.sleep(pause)


class Conversation:
    """Talking with one session."""

    def __init__(self, client: Client, talk: plans.Talk) -> None:
        self._client = client
        self._talk = talk

    @property
    def session(self) -> str | None:
        """Uid or name of the session; None before the first message made it."""
        return self._talk.session

    def send(self, text: str, *, timeout: float = 120.0, key: str | None = None) -> Reply:
        """Say something, and return the answer. Under a key it is said once.

        Raises:
            TimedOut: There is none after `timeout` seconds; it comes later, and is among `messages`.
        """
        return self._client._run(self._talk.say(text, timeout, key))  # noqa: SLF001  # two halves of one thing

    @property
    def messages(self) -> Messages:
        """What was said so far."""
        return self._client.messages(self.session, namespace=self._talk.namespace) if self.session else []

    def close(self) -> None:
        """End the conversation: the session completes once it has answered what was said."""
        if self.session:
            self._client.patch(self.session, {"conversation": {"open": False}}, namespace=self._talk.namespace)

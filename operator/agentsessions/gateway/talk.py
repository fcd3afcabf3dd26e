"""Waiting for the answer to a message: nothing is asked in the meantime, a commit to the session wakes who waits."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass

import orjson

from agentsessions.gateway.events import CHECK_SECONDS, PING_SECONDS
from agentsessions.gateway.frames import GREETING, PING_FRAME, Frame, of_entry
from agentsessions.gateway.models import to_usage
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.tails import READ_AT_ONCE, Tail, Viewer
from agentsessions.gateway.talk_models import ConversationAnswer
from agentsessions.journal.messages import count_said
from agentsessions.journal.replies import Reply, find_reply
from agentsessions.journal.rows import MessageRow, SessionRow


@dataclass(frozen=True, slots=True)
class Talk:
    """Something that was said to a session."""

    row: SessionRow
    message: MessageRow
    after: int
    """Last entry before what came of it."""

    async def to_answer(self, gateway: Gateway, reply: Reply) -> ConversationAnswer:
        """Return what is known of it by now."""
        row = await gateway.store.get_session_by_uid(self.row.uid) or self.row
        return ConversationAnswer(
            session_id=row.spec.get("sessionId"),
            session=row.name,
            uid=row.uid,
            namespace=row.namespace,
            message_id=self.message.id,
            reply=reply.text,
            messages_count=await gateway.store.read(count_said, row.uid),
            phase=reply.phase,
            usage=to_usage(row.usage),
        )


async def await_reply(gateway: Gateway, talk: Talk, seconds: float) -> Reply:
    """Return what became of a message, once it is answered or will not be, or after so long, or when we stop."""
    ends_at = time.monotonic() + seconds
    with gateway.changes.listen(talk.row.uid) as listener:
        while True:
            reply = await gateway.store.read(find_reply, talk.row.uid, talk.message.id)
            left = ends_at - time.monotonic()
            if reply.text is not None or reply.is_over or left <= 0 or gateway.changes.is_stopping:
                return reply
            await listener.wait(left)


async def stream_reply(
    gateway: Gateway, talk: Talk, is_allowed: Callable[[], Awaitable[bool]]
) -> AsyncGenerator[bytes]:
    """Yield the session's events from the message on; then `reply`, or `problem` when there will be none.

    Args:
        gateway: The parts.
        talk: What was said.
        is_allowed: Asked from time to time whether the reader may go on.
    """
    after, uid = talk.after, talk.row.uid
    checked_at = time.monotonic()
    async with gateway.tails.join(uid) as (tail, viewer):
        yield GREETING.sse
        while True:
            reply = await gateway.store.read(find_reply, uid, talk.message.id)  # first: what it names can be read then
            last = reply.through_seq
            entries = await gateway.store.entries(uid, after, READ_AT_ONCE)
            for entry in entries:
                if last is None or entry.seq <= last:
                    yield of_entry(entry).sse
                after = entry.seq
            if (reply.text is not None or reply.is_over) and (not entries or (last is not None and after >= last)):
                yield await _end(gateway, talk, reply)
                return
            if entries:
                viewer.take_deltas()  # what waits is part of what is written
                continue
            if gateway.changes.is_stopping:
                return
            if time.monotonic() - checked_at >= CHECK_SECONDS:
                if not await is_allowed():
                    return
                checked_at = time.monotonic()
            async for frame in _until_news(tail, viewer, after):
                yield frame.sse


async def _until_news(tail: Tail, viewer: Viewer, after: int) -> AsyncGenerator[Frame]:
    """Yield what is under way until there is more in the journal, or there may be; or, after a while, a ping."""
    while tail.after(after) == []:
        if not await viewer.wait(PING_SECONDS):
            yield PING_FRAME
            return
        deltas = viewer.take_deltas()
        for frame in deltas:
            yield frame
        if not deltas:
            return


async def _end(gateway: Gateway, talk: Talk, reply: Reply) -> bytes:
    if reply.text is None:
        return b"event: problem\ndata: %s\n\n" % orjson.dumps(unanswered(talk, reply).to_problem().to_json())
    answer = await talk.to_answer(gateway, reply)
    return b"event: reply\ndata: %s\n\n" % orjson.dumps(answer.to_json())


def unanswered(talk: Talk, reply: Reply) -> ProblemError:
    """Return the problem of a message that nobody will answer any more."""
    how = f"{reply.phase} ({reply.stop_reason})" if reply.stop_reason else reply.phase
    why = f": {reply.message}" if reply.message else ""
    return ProblemError(
        ProblemCode.NOT_ANSWERED,
        f"Session {talk.row.namespace}/{talk.row.name} is {how}{why}. Message {talk.message.id} is not answered any "
        "more; create a new session to go on.",
    )

"""Bodies of the one-call conversation. What the OpenAPI document describes."""

from typing import Annotated, Any, Final, Self

from pydantic import ConfigDict, Field, model_validator

from agentsessions.api.model import ApiModel
from agentsessions.api.names import DEFAULT_AGENT, MAX_AGENT_NAME
from agentsessions.api.reasons import Phase
from agentsessions.api.v1alpha1.agent import Agent
from agentsessions.api.v1alpha1.context import SessionContext
from agentsessions.api.v1alpha1.life import Conversation, Limits
from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.gateway.models import UsageAnswer
from agentsessions.gateway.speech import Content, Key, MessageCreate
from agentsessions.journal.rows import MessageRole

MAX_WAIT_SECONDS: Final = 120
DEFAULT_WAIT_SECONDS: Final = 30
MAX_MESSAGES: Final = 100
MAX_INSTRUCTIONS: Final = 65_536
LONG_TALK: Final = Limits(max_steps=1000, timeout_seconds=3600)


def _not_both(one: str, kind: str, other: str, other_kind: str) -> dict[str, Any]:
    given = {one: {"type": kind}, other: {"type": other_kind}}
    return {"not": {"required": [one, other], "properties": given}}


ALTERNATIVES: Final[dict[str, Any]] = {
    "oneOf": [
        {"required": ["message"], "properties": {"message": {"type": "string"}, "messages": {"type": "null"}}},
        {"required": ["messages"], "properties": {"message": {"type": "null"}, "messages": {"type": "array"}}},
    ],
    "allOf": [_not_both("session", "string", "sessionId", "string"), _not_both("agent", "object", "agents", "array")],
}
"""What the model's own check of them says, as JSON Schema."""


class TalkMessage(MessageCreate):
    """One of several messages; the key is that of the whole call."""

    idempotency_key: None = None
    """Not here: the call has one."""


class TalkAgent(Agent):
    """The agent of a new session."""

    name: Annotated[str, Field(pattern="^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=MAX_AGENT_NAME)] = DEFAULT_AGENT
    """Name of the agent."""


class ConversationRequest(ApiModel):
    """Something to say, to whom, and how the answer is to come. What describes a session counts when one is made."""

    model_config = ConfigDict(json_schema_extra=ALTERNATIVES)

    session_id: (
        Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")] | None
    ) = None
    """Your own id of the session; one that you have no session for makes one."""
    session: Annotated[str, Field(max_length=253, pattern="^[A-Za-z0-9.-]+$")] | None = None
    """Name or uid of a session that is there. Without it and `sessionId` each call makes a session."""
    message: Content | None = None
    """What you say; at most 262,144 bytes (413 if more)."""
    messages: Annotated[list[TalkMessage], Field(min_length=1, max_length=MAX_MESSAGES)] | None = None
    """Several messages, in order, in place of `message`; the last one with role user."""
    title: Annotated[str, Field(max_length=256)] | None = None
    """Title of a new session."""
    description: Annotated[str, Field(max_length=4096)] | None = None
    """Description of a new session."""
    agent: TalkAgent | None = None
    """Agent of a new session."""
    agents: Annotated[list[Agent], Field(min_length=1, max_length=1)] | None = None
    """The same as a list, as in the resource."""
    system_override: Annotated[str, Field(min_length=1, max_length=MAX_INSTRUCTIONS)] | None = None
    """System prompt in place of the agent's: its instructions in a new session; in one that is there a system message
    in front of what you say, which later turns see too."""
    max_history: Annotated[int, Field(ge=2, le=10_000)] | None = None
    """Of a new session: messages shown to the model, the first and the newest ones. Default 50."""
    context: SessionContext | None = None
    """What the agent of a new session is given besides."""
    limits: Limits | None = None
    """What a new session may spend. Without it 1,000 steps and an hour of work, and tokens as ever: talks are long."""
    wait_seconds: Annotated[int, Field(ge=0, le=MAX_WAIT_SECONDS)] = DEFAULT_WAIT_SECONDS
    """How long to wait for the answer; then 202."""
    stream: bool = False
    """Answer with server-sent events up to the answer, as with `Accept: text/event-stream`."""
    idempotency_key: Key | None = None
    """The same key with the same message means the same message, and its answer. Also as header Idempotency-Key."""

    @model_validator(mode="after")
    def _check_alternatives(self) -> Self:
        for one, other in (("session", "session_id"), ("message", "messages"), ("agent", "agents")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"give {one} or its alternative ({other.replace('_id', 'Id')}), not both")
        if self.message is None and self.messages is None:
            raise ValueError("give message or messages")
        if self.messages is not None and self.messages[-1].role is not MessageRole.USER:
            raise ValueError("the last one of messages must have role user: it is what is answered")
        return self

    def said(self) -> list[TalkMessage]:
        """Return what is said, in order."""
        return self.messages or [TalkMessage(content=self.message or "")]

    def to_spec(self, owner: str) -> SessionSpec:
        """Return the spec of the session that is made."""
        agents = self.agents or ([Agent(**dict(self.agent))] if self.agent else None)
        if self.system_override is not None:
            first, *rest = agents or [Agent(name=DEFAULT_AGENT)]
            agents = [first.model_copy(update={"instructions": self.system_override}), *rest]
        return SessionSpec(
            session_id=self.session_id,
            owner=owner,
            title=self.title,
            description=self.description,
            agents=agents,
            context=self.context,
            limits=self.limits or LONG_TALK,
            conversation=Conversation(open=True, max_history=self.max_history),
        )


class ConversationAnswer(ApiModel):
    """What came of it."""

    session_id: str | None = None
    """The session's own id, if it has one."""
    session: str
    """The session's name."""
    uid: str
    """The session's uid."""
    namespace: str
    """Its namespace."""
    message_id: str
    """Id of what you said, the last message of several."""
    reply: str | None = None
    """The answer; absent as long as there is none."""
    messages_count: int
    """Messages of the conversation by now."""
    phase: Phase
    """Where the session is."""
    usage: UsageAnswer
    """What the session has spent by now."""

"""Bodies of requests and answers about messages. What the OpenAPI document describes."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Final, Self

import orjson
from pydantic import AfterValidator, ConfigDict, Field, model_validator

from agentsessions.api.model import ApiModel, JsonObject
from agentsessions.journal.messages import Said
from agentsessions.journal.rows import MailKind, MessageRole, MessageRow, MessageState

MAX_EXTRA_BYTES: Final = 16_384
MAX_KEY: Final = 256


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("it holds the character U+0000, which cannot be stored")
    return value


Text = Annotated[str, AfterValidator(_without_nul)]
Key = Annotated[Text, Field(min_length=1, max_length=MAX_KEY)]
Content = Annotated[Text, Field(min_length=1)]


def _bounded(value: dict[str, Any]) -> dict[str, Any]:
    try:
        size = len(orjson.dumps(value))
    except TypeError as error:  # numbers beyond 64 bits, lone surrogates
        raise ValueError(f"it cannot be stored: {error}") from error
    if size > MAX_EXTRA_BYTES:
        raise ValueError(f"it has {size} bytes as JSON; {MAX_EXTRA_BYTES} are the most")
    return value


ExtraData = Annotated[JsonObject, AfterValidator(_bounded)]


TOOL_FIELDS: Final[dict[str, Any]] = {
    "oneOf": [
        {
            "required": ["role", "toolCallId", "toolName"],
            "properties": {
                "role": {"const": MessageRole.TOOL.value},
                "toolCallId": {"type": "string"},
                "toolName": {"type": "string"},
            },
        },
        {
            "properties": {
                "role": {"enum": [role.value for role in MessageRole if role is not MessageRole.TOOL]},
                "toolCallId": {"type": "null"},
                "toolName": {"type": "null"},
            }
        },
    ]
}
SOMETHING: Final[dict[str, Any]] = {
    "anyOf": [
        {"required": ["content"], "properties": {"content": {"type": "string"}}},
        {"required": ["extraData"], "properties": {"extraData": {"type": "object"}}},
    ]
}
"""What the models' own checks say, as JSON Schema."""


class MessageCreate(ApiModel):
    """A message to a session."""

    model_config = ConfigDict(json_schema_extra=TOOL_FIELDS)

    content: Content
    """What is said; at most 262,144 bytes (413 if more)."""
    role: MessageRole = MessageRole.USER
    """Who says it. user begins a turn; assistant, system and tool stand in front of what a user says next."""
    tool_call_id: Annotated[Text, Field(min_length=1, max_length=128)] | None = None
    """With role tool: the call that `content` is the result of."""
    tool_name: Annotated[str, Field(pattern="^[a-zA-Z0-9_-]{1,64}$")] | None = None
    """With role tool: the tool's name."""
    extra_data: ExtraData | None = None
    """Anything of your own, at most 16,384 bytes; no model sees it."""
    idempotency_key: Key | None = None
    """The same key with the same message means the same message. Also as header Idempotency-Key."""

    @model_validator(mode="after")
    def _check_tool(self) -> Self:
        is_tool = self.role is MessageRole.TOOL
        if is_tool and (self.tool_call_id is None or self.tool_name is None):
            raise ValueError("a message with role tool needs toolCallId and toolName")
        if not is_tool and (self.tool_call_id is not None or self.tool_name is not None):
            raise ValueError("toolCallId and toolName belong to messages with role tool")
        return self


class MessagePatch(ApiModel):
    """What a message is to say; what is left out stays."""

    model_config = ConfigDict(json_schema_extra=SOMETHING)

    content: Content | None = None
    """What is said; at most 262,144 bytes (413 if more)."""
    extra_data: ExtraData | None = None
    """Anything of your own, in place of what it had."""

    @model_validator(mode="after")
    def _check_any(self) -> Self:
        if self.content is None and self.extra_data is None:
            raise ValueError("give content, extraData, or both")
        return self


class MessageAnswer(ApiModel):
    """One message of a conversation."""

    id: str
    """Its id: given when it was sent, or `entry-` and its seq for what agents said."""
    number: int | None = None
    """Its place in the conversation, from 1; not final while it is queued, and absent once deleted."""
    role: MessageRole
    """Who says it. What an agent says, and the calls that it makes, are assistant's; results are tool's."""
    content: str
    """What is said; of a tool call its arguments."""
    tool_call_id: str | None = None
    """Of a tool call and its result: the call's id."""
    tool_name: str | None = None
    """Of a tool call and its result: the tool."""
    extra_data: dict[str, Any] | None = None
    """The sender's own."""
    kind: MailKind | None = None
    """Of a message between sessions: COMMAND, PROGRESS_REPORT or ERROR."""
    priority: int | None = None
    """Of a message between sessions: 1 (low) to 4 (critical)."""
    sender: str | None = None
    """Of a message between sessions: name of the session that sent it."""
    correlation_id: str | None = None
    """Of a report or an error: id of the command."""
    actor: str | None = None
    """Name of the user who sent it; absent for what agents said and for the goal."""
    created_at: datetime
    """When it was stored (UTC)."""
    updated_at: datetime | None = None
    """When it was edited last (UTC)."""
    state: MessageState | None = None
    """Of what was sent. queued: no turn has it yet. taken: a turn shows it to the model. answered: that turn, or a
    later one, ended. deleted: its content is gone."""
    agent: str | None = None
    """Agent that took or said it."""
    round: int | None = None
    """Round of the turn that took or said it."""
    turn: int | None = None
    """Number of the turn that took or said it."""
    seq: int | None = None
    """Its entry in the journal; absent while it is queued."""


class Order(StrEnum):
    """How a list is ordered."""

    ASC = "asc"
    DESC = "desc"


class MessageList(ApiModel):
    """One page of messages."""

    items: list[MessageAnswer]
    """The messages, oldest first unless asked otherwise."""
    next: int | None = None
    """`after` of the next page; absent on the last."""


class MessagesRecent(ApiModel):
    """The newest messages."""

    items: list[MessageAnswer]
    """The messages, oldest first."""


class MessageCount(ApiModel):
    """How long a conversation is."""

    count: int
    """Messages that it has; deleted ones are not counted."""


class MessagesCleared(ApiModel):
    """What became of a conversation that was cleared."""

    deleted: int
    """Messages whose content is gone."""
    kept: int
    """Messages that stay: the goal, and what an agent is answering."""


def to_answer(said: Said) -> MessageAnswer:
    """Return a message as it is shown."""
    return MessageAnswer(**{name: getattr(said, name) for name in Said.__slots__})


def sent_to_answer(row: MessageRow) -> MessageAnswer:
    """Return a message that was deleted, as one hears of it who sends it again."""
    return MessageAnswer(
        id=row.id,
        role=row.role,
        content=row.content,
        actor=row.actor,
        created_at=row.created_at,
        updated_at=row.updated_at,
        state=row.state,
        agent=row.agent,
        round=row.round,
        turn=row.k,
        seq=row.entry_seq,
    )

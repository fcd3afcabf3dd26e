"""Reading and renaming of Chat Completions answers. Pure."""

from dataclasses import dataclass
from typing import Any

from agentsessions.journal.entries import canonical_json


@dataclass(frozen=True, slots=True)
class AskedTool:
    """A tool call in an answer."""

    call_id: str
    original_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered, with call ids of ours."""

    relayed: dict[str, Any]
    """The whole `chat.completion`, renamed."""
    text: str
    tools: tuple[AskedTool, ...]
    finish_reason: str
    message_bytes: int


def read_answer(completion: dict[str, Any], *, id_prefix: str) -> Answer:
    """Return what a complete `chat.completion` says; its call ids become `<id_prefix>_<position>`.

    Providers repeat call ids or leave them empty, which clients do not survive.

    Raises:
        ValueError: It is not an answer of one choice.
    """
    try:
        choice, *_ = completion["choices"]
        message = choice["message"]
        tools = tuple(
            AskedTool(f"{id_prefix}_{i}", call.get("id") or "", call["function"]["name"], call["function"]["arguments"])
            for i, call in enumerate(message.get("tool_calls") or ())
        )
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ValueError("the answer is not a chat.completion with a message: nothing to journal") from error
    renamed = dict(message)
    if tools:
        renamed["tool_calls"] = [
            {**call, "id": tool.call_id} for call, tool in zip(message["tool_calls"], tools, strict=True)
        ]
    relayed = {**completion, "choices": [{**choice, "message": renamed}]}
    return Answer(
        relayed=relayed,
        text=message.get("content") or "",
        tools=tools,
        finish_reason=choice.get("finish_reason") or "",
        message_bytes=len(canonical_json(renamed)),
    )

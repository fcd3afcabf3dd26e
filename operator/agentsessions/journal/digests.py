"""Digests of model requests: what makes two requests the same, and one the continuation of another. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from agentsessions.journal.entries import canonical_json, digest_of

_TRANSPORT_KEYS: Final = frozenset({"stream", "stream_options"})
"""Say how the answer travels, not what is asked."""
_INSTRUCTING: Final = frozenset({"system", "developer"})
SHORT: Final = 16
"""Characters of a part's digest: enough to tell two of one place apart."""


def request_digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a Chat Completions request body, without what only concerns its transport."""
    return digest_of({key: value for key, value in body.items() if key not in _TRANSPORT_KEYS})


def part_digests(body: Mapping[str, Any]) -> dict[str, str]:
    """Return a short digest of each part of a request: of another session's request only what was changed differs.

    Call ids are told by their order alone: another session has others.
    """
    messages = [message for message in body.get("messages", ()) if isinstance(message, dict)]
    said = [message for message in messages if message.get("role") not in _INSTRUCTING]
    apart = {*_TRANSPORT_KEYS, "messages", "model", "tools"}
    parts = {
        "instructions": [message.get("content") for message in messages if message.get("role") in _INSTRUCTING],
        "model": body.get("model"),
        "tools": body.get("tools") or [],
        "settings": {key: value for key, value in body.items() if key not in apart and value is not None},
        "conversation": _without_ids(said),
    }
    return {name: digest_of(part)[:SHORT] for name, part in parts.items()}


def _without_ids(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with call ids replaced by the order in which they come."""
    order: dict[str, int] = {}
    plain = []
    for message in messages:
        changed = dict(message)
        if isinstance(calls := message.get("tool_calls"), list):
            changed["tool_calls"] = [
                {**call, "id": order.setdefault(str(call.get("id")), len(order))} if isinstance(call, dict) else call
                for call in calls
            ]
        if (answered := message.get("tool_call_id")) is not None:
            changed["tool_call_id"] = order.setdefault(str(answered), len(order))
        plain.append(changed)
    return plain


def prompt_digests(body: Mapping[str, Any]) -> tuple[str, ...]:
    """Return one digest for each prefix of the messages, shortest first; the last one is of the whole prompt.

    A request continues an earlier one when the earlier one's last digest is among these.
    """
    running = hashlib.sha256(canonical_json({"model": body.get("model"), "tools": body.get("tools")}))
    digests = []
    for message in body.get("messages", ()):
        running.update(canonical_json(message))
        digests.append(running.copy().hexdigest())
    return tuple(digests)

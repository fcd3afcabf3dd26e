"""Digests of model requests: what makes two requests the same, and one the continuation of another. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from agentsessions.journal.entries import canonical_json, digest_of

_TRANSPORT_KEYS: Final = frozenset({"stream", "stream_options"})
"""Say how the answer travels, not what is asked."""


def request_digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a Chat Completions request body, without what only concerns its transport."""
    return digest_of({key: value for key, value in body.items() if key not in _TRANSPORT_KEYS})


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

"""Names of sessions whose creators gave none. Pure, but for chance."""

import hashlib
import re
import secrets
from typing import Final

from agentsessions.gateway.resource_bodies import SessionCreate

MAX_SLUG: Final = 40
"""Leaves room for what makes the name unique."""
NAMELESS: Final = "session"

_OTHER: Final = re.compile(r"[^a-z0-9]+")


def name_of(body: SessionCreate, owner: str | None) -> str:
    """Return the name that a session gets: that of its creator, else one that follows from its own id, else a new one.

    Two who create the same (owner, sessionId) at the same time choose the same name, and one of them fails.
    """
    if body.name is not None:
        return body.name
    if body.session_id is not None:
        return fixed_name(body.session_id, owner or "", body.session_id)
    return f"{to_slug(body.title or body.goal or NAMELESS)}-{secrets.token_hex(4)}"


def fixed_name(text: str, *parts: str) -> str:
    """Return a name that begins like a text and is the same for the same parts."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{to_slug(text)}-{digest[:8]}"


def to_slug(text: str) -> str:
    """Return the beginning of a text as a name may have it."""
    return _OTHER.sub("-", text.lower()).strip("-")[:MAX_SLUG].rstrip("-") or NAMELESS

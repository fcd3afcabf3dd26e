"""The spec of a session that is made from another one: what the other's says, but for what is its own. Pure."""

from collections.abc import Mapping
from typing import Any, Final

OWN: Final = frozenset({"operatingMode", "sessionId", "owner", "source", "replay"})
"""Fields of a spec that a clone does not get: they are about the one session, or who made it."""
TALK: Final = frozenset({"conversation", "schedule"})
"""Fields that a replay does not get: what was said is said again."""

Json = dict[str, Any]


def clone_spec(spec: Json, source: Json) -> Json:
    """Return the spec of a clone. A conversation is open again.

    Args:
        spec: That of the session that is cloned.
        source: The clone's `spec.source`.
    """
    kept = {name: value for name, value in spec.items() if name not in OWN}
    if "conversation" in kept:
        kept["conversation"] = {**kept["conversation"], "open": True}
    return {**kept, "source": source}


def replay_spec(spec: Json, replay: Json) -> Json:
    """Return the spec of a replay.

    Args:
        spec: That of the session that is done again.
        replay: The replay's `spec.replay`.
    """
    kept = {name: value for name, value in spec.items() if name not in OWN | TALK}
    return {**kept, "replay": replay}


def merge(target: Any, patch: Any) -> Any:
    """Return what a JSON merge patch makes of a value.

    Source: RFC 7386.
    """
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged

"""The first message of a session: its goal, and what the session is given besides.

It is written once, before the first turn is pinned, and never changes again: every epoch of every agent starts from
the same words. Content of a ConfigMap comes from the session's frozen copy, as it was when the session was accepted.
"""

import json
from typing import TYPE_CHECKING, Final

from agentsessions.api.v1alpha1.session import SessionSpec
from agentsessions.children.names import context_name
from agentsessions.children.snapshot import CONTEXT_KEY, read_key
from agentsessions.engine.errors import ApiError, NotFound
from agentsessions.engine.resources import CONFIG_MAP, resource_path
from agentsessions.gateway.problems import unavailable
from agentsessions.lifecycle.facts import SessionView

if TYPE_CHECKING:
    from agentsessions.gateway.state import Gateway
MOST_REMEMBERED: Final = 50_000


async def ensure_goal_message(gateway: "Gateway", session: SessionView) -> None:
    """Write the session's first message, unless it is there, or it is people who begin.

    Raises:
        ProblemError: 503 as long as the frozen context cannot be read.
    """
    is_given = session.spec.goal is not None or session.spec.context is not None
    if session.uid in gateway.with_goal or not is_given:
        return
    referenced = await _fetch_context(gateway, session)
    text = build_goal_message(session.spec, referenced)
    if text:  # an empty context says nothing
        await gateway.store.set_goal_message(session.uid, text)
    if len(gateway.with_goal) >= MOST_REMEMBERED:
        gateway.with_goal.clear()
    gateway.with_goal.add(session.uid)


def build_goal_message(spec: SessionSpec, referenced: str | None = None) -> str:
    """Return the text that the model reads first.

    Args:
        spec: The session's spec.
        referenced: Text of `context.configMapKeyRef`, if it names one.
    """
    parts = [spec.goal] if spec.goal else []
    given = _given_text(spec, referenced)
    if given is not None:
        parts.append(f"Context:\n{given}")
    paths = [file.path for file in (spec.context and spec.context.files) or ()]
    if paths:
        lines = "\n".join(f"- {path}" for path in paths)
        parts.append(f"Files in your workspace (paths are relative to it):\n{lines}")
    return "\n\n".join(parts)


def _given_text(spec: SessionSpec, referenced: str | None) -> str | None:
    context = spec.context
    if context is None:
        return None
    if context.json_value is not None:
        return json.dumps(context.json_value, ensure_ascii=False, indent=2)
    return referenced if context.config_map_key_ref is not None else context.text


async def _fetch_context(gateway: "Gateway", session: SessionView) -> str | None:
    context = session.spec.context
    if context is None or context.config_map_key_ref is None:
        return None
    name = context_name(session.name, session.uid)
    what = f"The frozen context of session {session.namespace}/{session.name} (ConfigMap {name!r}, key {CONTEXT_KEY!r})"
    try:
        found = await gateway.client.get(resource_path(CONFIG_MAP, session.namespace, name))
    except NotFound as error:
        raise unavailable(f"{what} is not there; the operator makes it when it accepts the session.") from error
    except ApiError as error:
        if not error.is_passing:
            raise
        raise unavailable(f"{what} cannot be read now: {error}.") from error
    content = read_key(found, CONTEXT_KEY)
    if content is None:
        raise unavailable(f"{what} holds no such key; delete the ConfigMap and the operator makes it again.")
    return content.decode(errors="replace")

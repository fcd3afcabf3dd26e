"""No request fills the memory: FastAPI reads a body whole, and before it asks who sends it.

What people and programs send as JSON is small, and bounded in depth and in number of values before it is parsed: a
parser makes of each byte an object of fifty.
"""

import re
from typing import Final

import orjson
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agentsessions.gateway import paths

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024
JSON: Final = "application/json"
MAX_JSON_BYTES: Final = 2 * 1024 * 1024
"""More than the API server takes of a session, and room for a message whose text is written in escapes."""
MAX_JSON_DEPTH: Final = 80
"""Room for an object without a schema, of 64 levels, in a session."""
MAX_JSON_VALUES: Final = 20_000

_TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)


class BodyLimit:
    """Ends a request with 413 or 422 as soon as its body is larger, deeper or longer than allowed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and look at its body."""
        if scope["type"] == "http" and scope["path"] == paths.IMPORT:  # is not read whole, and has a limit of its own
            await self._app(scope, receive, send)
            return
        is_json = _is_users_json(scope)
        most = MAX_JSON_BYTES if is_json else MAX_REQUEST_BYTES
        received = 0
        parts: list[bytes] = []

        async def checked() -> Message:
            nonlocal received
            message = await receive()
            part = message.get("body", b"")
            received += len(part)
            if received > most:
                raise HTTPException(413, f"the body is larger than {most} bytes, the most allowed; send less")
            if is_json:
                parts.append(part)
                if not message.get("more_body", False):
                    content = b"".join(parts)
                    refuse_complex(content)
                    refuse_half_characters(content)
            return message

        await self._app(scope, checked, send)


def _is_users_json(scope: Scope) -> bool:
    if scope["type"] != "http" or not scope["path"].startswith(f"{paths.API}/"):
        return False
    kind = next((value for name, value in scope["headers"] if name == b"content-type"), JSON.encode())
    return bool(kind.decode("latin-1").partition(";")[0].strip().lower() == JSON)


def refuse_complex(content: bytes) -> None:
    """Refuse JSON that is nested too deeply or holds too many values; whether it is JSON at all is not asked.

    Raises:
        HTTPException: 422.
    """
    depth, values = 0, 1
    for token in _TOKEN.finditer(content):
        match token.group():
            case b"[" | b"{":
                depth += 1
                values += 1
            case b"]" | b"}":
                depth -= 1
            case b",":
                values += 1
            case _:
                pass
        if depth > MAX_JSON_DEPTH:
            raise HTTPException(422, f"the body is nested more than {MAX_JSON_DEPTH} levels deep; nest less")
        if values > MAX_JSON_VALUES:
            raise HTTPException(422, f"the body holds more than {MAX_JSON_VALUES} values; send fewer")


def refuse_half_characters(content: bytes) -> None:
    r"""Refuse JSON with half of a surrogate pair (`\ud800`): what it is read as cannot be stored or sent.

    Raises:
        HTTPException: 422.
    """
    if rb"\ud" not in content.lower():
        return
    try:
        orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise HTTPException(422, f"the body is not JSON that can be stored: {error}") from error

"""No request fills the memory: FastAPI reads a body whole, and before it asks who sends it."""

from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_REQUEST_BYTES: Final = 8 * 1024 * 1024


IMPORT_PATH: Final = "/api/v1/import"
"""The one body that is not read whole; the route has a limit of its own."""


class BodyLimit:
    """Ends a request with 413 as soon as its body is larger than allowed."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and count its body."""
        if scope["type"] == "http" and scope["path"] == IMPORT_PATH:
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_REQUEST_BYTES:
                raise HTTPException(
                    413, f"the body is larger than {MAX_REQUEST_BYTES} bytes, the most allowed; send less history"
                )
            return message

        await self._app(scope, counted, send)

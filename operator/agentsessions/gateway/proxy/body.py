"""Reading a request's body without letting a pod fill the memory."""

from fastapi import Request

from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.proxy.checks import MAX_REQUEST_BYTES


async def read_body(request: Request) -> bytes:
    """Return the request's body.

    Raises:
        ProblemError: 413 as soon as it is larger than allowed.
    """
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_REQUEST_BYTES:
            detail = (
                f"The request's body is larger than {MAX_REQUEST_BYTES} bytes, the most allowed. Send less history."
            )
            raise ProblemError(413, "too_large", "Request too large", detail)
    return bytes(body)

"""How one complete, journaled answer reaches the pod."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import orjson
from starlette.responses import Response, StreamingResponse

from agentsessions.gateway.problems import ProblemError
from agentsessions.gateway.proxy.checks import ModelRequest
from agentsessions.gateway.proxy.purchase import Purchase

PING_SECONDS: Final = 15.0
"""Comment lines keep the client's and every middle box's read time-out from ending a long answer."""


async def relay(purchase: Purchase, request: ModelRequest) -> Response:
    """Answer with what is bought, in the form that was asked for.

    A stream's headers wait until the provider begins to answer, or the outcome: a refusal keeps its HTTP status.

    Raises:
        ProblemError: There is no answer, and it was known before a header was sent.
    """
    if not request.is_streamed:
        return Response(orjson.dumps(await purchase.answer()), media_type="application/json")
    await purchase.begun_or_ended()
    if purchase.is_ended:
        await purchase.answer()
    events = _events(purchase, wants_usage=request.wants_usage)
    return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def _events(purchase: Purchase, *, wants_usage: bool) -> AsyncIterator[bytes]:
    while not await purchase.ended_within(PING_SECONDS):
        yield b": ping\n\n"
    try:
        answer = await purchase.answer()
    except ProblemError as problem:
        body = problem.to_problem(openai=True).error
        yield _event({"error": body})
        return
    # In one piece, as all of it is there: each would be sent, encrypted and read on its own.
    yield b"".join(map(_event, to_chunks(answer, wants_usage=wants_usage))) + b"data: [DONE]\n\n"


def to_chunks(answer: Mapping[str, Any], *, wants_usage: bool) -> list[dict[str, Any]]:
    """Return a `chat.completion` as chunks: the whole answer, the finish, and the usage when asked for."""
    base = {key: answer.get(key) for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    choice = answer["choices"][0]
    calls = [{"index": index, **call} for index, call in enumerate(choice["message"].get("tool_calls") or ())]
    delta = {"role": "assistant", "content": choice["message"].get("content")} | (
        {"tool_calls": calls} if calls else {}
    )
    chunks = [
        base | {"choices": [_choice(delta, None)]},
        base | {"choices": [_choice({}, choice["finish_reason"])]},
    ]
    if wants_usage:
        chunks.append(base | {"choices": [], "usage": answer.get("usage")})
    return chunks


def _choice(delta: Mapping[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"

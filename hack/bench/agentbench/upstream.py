"""A model provider that answers at once, as a process of its own: `python -m agentbench.upstream HOST PORT`."""

import json
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

WORDS: Final = 40
Json = dict[str, Any]


def to_chunks() -> Iterator[Json]:
    """Yield the answer as providers stream it, a word at a time."""
    for _ in range(WORDS):
        yield to_chunk({"content": "word "})
    usage = {"prompt_tokens": 400, "completion_tokens": WORDS, "total_tokens": 400 + WORDS}
    yield {**to_chunk({}, "stop"), "usage": usage}


def to_chunk(delta: Json, finish_reason: str | None = None) -> Json:
    """Return one chunk of a stream."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


LINES: Final = [f"data: {json.dumps(chunk)}\n\n" for chunk in to_chunks()] + ["data: [DONE]\n\n"]


async def answer(request: Request) -> StreamingResponse:
    """Answer a completion, whatever was asked."""
    await request.body()

    async def stream() -> AsyncIterator[str]:
        for line in LINES:
            yield line

    return StreamingResponse(stream(), media_type="text/event-stream")


if __name__ == "__main__":
    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    uvicorn.run(app, host=sys.argv[1], port=int(sys.argv[2]), log_level="error")

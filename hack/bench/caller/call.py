"""Time model calls from inside an agent pod, as the client library that everybody uses makes them; print JSON.

It has two clients. The one that the Agents SDK uses reads an answer's stream to its end, so its connection is used
again. The synchronous one closes the connection behind `data: [DONE]` of each stream, whoever sent it, and makes a new
one for each call, over TLS where the gateway is asked.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI, OpenAI

WARM_UP = 5
MODEL = os.environ["MODEL"]
PROMPT = "word " * 400
WAYS = {
    "direct": {"base_url": os.environ["UPSTREAM_URL"], "api_key": "none"},
    "proxied": {"api_key": Path(os.environ["AGENTSESSIONS_TOKEN_FILE"]).read_text()},
}


def to_request(question: str) -> dict[str, Any]:
    """Return what is asked."""
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": f"{question}: {PROMPT}"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def time_kept(client: AsyncOpenAI, number: int) -> float:
    """Return the milliseconds from a request to the end of its streamed answer."""
    began = time.perf_counter()
    async for _ in await client.chat.completions.create(**to_request(f"Question {number}")):
        pass
    return (time.perf_counter() - began) * 1000


def time_closed(client: OpenAI, number: int) -> float:
    """Do the same with the synchronous client."""
    began = time.perf_counter()
    for _ in client.chat.completions.create(**to_request(f"Other question {number}")):
        pass
    return (time.perf_counter() - began) * 1000


async def main() -> None:
    """Measure, and print what came out."""
    keeping = {name: AsyncOpenAI(**way, max_retries=0) for name, way in WAYS.items()}
    closing = {name: OpenAI(**way, max_retries=0) for name, way in WAYS.items()}
    taken: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in WAYS} for kind in ("kept", "closed")}
    for number in range(WARM_UP + int(os.environ["CALLS"])):
        for name in WAYS:
            taken["kept"][name].append(await time_kept(keeping[name], number))
            taken["closed"][name].append(time_closed(closing[name], number))
    measured = {kind: {name: one[WARM_UP:] for name, one in ways.items()} for kind, ways in taken.items()}
    print(json.dumps(measured), flush=True)


if __name__ == "__main__":
    asyncio.run(main())

"""Time model calls from inside an agent pod, as the client library that everybody uses makes them; print JSON."""

import json
import os
import time
from pathlib import Path

from openai import OpenAI

WARM_UP = 5
MODEL = os.environ["MODEL"]
PROMPT = "word " * 400


def time_call(client: OpenAI, number: int) -> float:
    """Return the milliseconds from a request to the end of its streamed answer."""
    began = time.perf_counter()
    stream = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": f"Question {number}: {PROMPT}"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for _ in stream:
        pass
    return (time.perf_counter() - began) * 1000


def main() -> None:
    """Measure, and print what came out."""
    clients = {
        "direct": OpenAI(base_url=os.environ["UPSTREAM_URL"], api_key="none", max_retries=0),
        "proxied": OpenAI(api_key=Path(os.environ["AGENTSESSIONS_TOKEN_FILE"]).read_text(), max_retries=0),
    }
    taken: dict[str, list[float]] = {name: [] for name in clients}
    for number in range(WARM_UP + int(os.environ["CALLS"])):
        for name, client in clients.items():
            taken[name].append(time_call(client, number))
    print(json.dumps({name: values[WARM_UP:] for name, values in taken.items()}), flush=True)


if __name__ == "__main__":
    main()

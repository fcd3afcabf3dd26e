"""An agent as others write them. BEHAVIOUR says which: one call, calls without end, or none until it is told to end."""

# ruff: noqa: T201, S310  # its lines are what a test reads; its one address is the gateway's
import json
import os
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from openai import OpenAI

TOKEN = Path(os.environ["AGENTSESSIONS_TOKEN_FILE"])
PAUSE_SECONDS = 0.02


def ask_once() -> None:
    """Ask the model one question with the library that everybody uses."""
    client = OpenAI(api_key=TOKEN.read_text())  # base URL and CA come from the environment
    answer = client.chat.completions.create(
        model=os.environ["MODEL"], messages=[{"role": "user", "content": "What is the answer?"}]
    )
    print(answer.choices[0].message.content, flush=True)


def ask_forever() -> None:
    """Buy answers whatever is said about it, and stay when told to go."""
    for number in range(1, 1_000_000):
        print(ask(f"Question {number}"), flush=True)
        time.sleep(PAUSE_SECONDS)  # the machine has other things to do


def ask(question: str) -> str:
    """Return status and code of the answer to a question."""
    body = {"model": os.environ["MODEL"], "messages": [{"role": "user", "content": question}]}
    headers = {"Authorization": f"Bearer {TOKEN.read_text()}", "Content-Type": "application/json"}
    url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return f"{answer.status}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {json.load(error).get('code')}"
    except OSError as error:
        return f"0 {error}"


def ignore(number: int, frame: FrameType | None) -> None:
    """Stay, and say so."""
    del frame
    print(f"ignored signal {number}", flush=True)


def wait_for_word() -> None:
    """Do nothing until somebody writes into the gate; being told to end is not enough."""
    gate = Path("gate")
    os.mkfifo(gate)
    print("waiting", flush=True)
    gate.read_text()


if __name__ == "__main__":
    match os.environ["BEHAVIOUR"]:
        case "once":
            ask_once()
        case "forever":
            signal.signal(signal.SIGTERM, ignore)
            ask_forever()
        case "wait":
            signal.signal(signal.SIGTERM, ignore)
            wait_for_word()
        case other:
            raise SystemExit(f"no behaviour {other}")

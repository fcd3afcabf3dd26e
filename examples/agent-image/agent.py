"""An agent loop as anybody would write it: it knows the OpenAI client and a shell, and nothing of sessions."""

import json
import os
import subprocess

from openai import OpenAI

TOOL = {
    "type": "function",
    "function": {
        "name": "shell",
        "description": "Run a command.",
        "parameters": {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]},
    },
}


def main() -> None:
    """Ask, run what is asked for, and ask again, until the answer asks for nothing."""
    client = OpenAI()
    messages = [{"role": "user", "content": os.environ["TASK"]}]
    while True:
        answer = client.chat.completions.create(model=os.environ["MODEL"], messages=messages, tools=[TOOL])
        message = answer.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        if not message.tool_calls:
            print(message.content, flush=True)
            return
        for call in message.tool_calls:
            command = json.loads(call.function.arguments)["command"]
            done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
            messages.append({"role": "tool", "tool_call_id": call.id, "content": done.stdout + done.stderr})


if __name__ == "__main__":
    main()

"""The gateway's side of the runner protocol and of the OpenAI-compatible endpoint, on a real port.

A test peer, not a gateway: it pins turns, replays answers by the digest of the body, records tools, and can be told to
answer badly (`failures`) or to stop at a point (`hold`), so that a test can kill the runner exactly there.
"""

import asyncio
import hashlib
import json
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

from agentsessions.api import wire
from agentsessions.api.v1alpha1.agent import Builtin

TOKEN = "a-projected-token"
GOAL = "Find the product that lost most revenue."


def call(call_id: str, name: str, arguments: dict[str, Any] | str) -> dict[str, Any]:
    """A tool call of an answer; a string is sent as it stands."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"call_id": call_id, "name": name, "arguments": text}


@dataclass(frozen=True)
class Answer:
    """What the model says: text, tool calls, or one error event in the middle of its stream."""

    text: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    error: dict[str, Any] | None = None
    is_cut: bool = False

    def chunks(self) -> list[bytes]:
        """Return the events of the stream."""
        delta: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            delta["tool_calls"] = [
                {
                    "index": i,
                    "id": one["call_id"],
                    "type": "function",
                    "function": {"name": one["name"], "arguments": one["arguments"]},
                }
                for i, one in enumerate(self.calls)
            ]
        if self.error is not None:
            return [b": ping\n\n", event({"error": self.error})]
        first = [b": ping\n\n", event(chunk([{"index": 0, "delta": delta, "finish_reason": None}]))]
        if self.is_cut:
            return first
        finish = "tool_calls" if self.calls else "stop"
        usage = {"prompt_tokens": 11, "completion_tokens": 5, "total_tokens": 16}
        return [
            *first,
            event(chunk([{"index": 0, "delta": {}, "finish_reason": finish}])),
            event({**chunk([]), "usage": usage}),
            b"data: [DONE]\n\n",
        ]

    def items(self) -> list[dict[str, Any]]:
        """Return the answer as input items for the next turn."""
        content = [{"type": "output_text", "text": self.text, "annotations": []}]
        message = {"type": "message", "id": "__fake_id__", "role": "assistant", "status": "completed"}
        said = [{**message, "content": content}] if self.text else []
        return said + [{"type": "function_call", **one} for one in self.calls]


def chunk(choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m", "choices": choices}


def event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def problem(status: int, code: str, *, retry_after: str | None = None) -> web.Response:
    """An answer other than success, in the gateway's form."""
    error = {"message": f"scripted {code}", "type": "problem", "code": code}
    body = wire.Problem(title=code, status=status, detail=f"scripted {code}", code=code, error=error).to_json()
    headers = {"Retry-After": retry_after} if retry_after else {}
    return web.json_response(body, status=status, headers=headers, content_type="application/problem+json")


def offer_of(builtin: Builtin) -> wire.ToolOffer:
    """A tool of the runner, as the gateway offers it."""
    return wire.ToolOffer(name=builtin.value.lower(), builtin=builtin, side_effect=wire.SideEffect.INTERNAL)


@dataclass
class Hold:
    """A point at which requests stop."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    is_dropped: bool = False


@dataclass
class Peer:
    """State of one session with one agent, as a gateway would keep it."""

    answers: dict[int, Answer]
    tools: tuple[wire.ToolOffer, ...] = (offer_of(Builtin.SHELL), offer_of(Builtin.FILES))
    control: wire.Control = wire.Control.GO
    max_output_tokens: int | None = 4000
    k: int = 1
    round: int = 1
    is_over: bool = False
    goes_on_after_errors: bool = False
    """Whether an error is answered by another turn, as a gateway does that makes a long conversation shorter."""
    history: list[dict[str, Any]] = field(default_factory=lambda: [{"role": "user", "content": GOAL}])
    bought: dict[str, int] = field(default_factory=dict)
    asked: dict[int, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    begun: list[wire.ToolBegin] = field(default_factory=list)
    recorded: dict[str, wire.ToolSettle] = field(default_factory=dict)
    called: list[wire.ToolCall] = field(default_factory=list)
    verdicts: dict[str, wire.ToolVerdict] = field(default_factory=dict)
    """What is answered about calls, as long as it stands here."""
    commits: list[wire.Commit] = field(default_factory=list)
    failures: dict[str, list[web.Response]] = field(default_factory=lambda: defaultdict(list))
    holds: dict[str, Hold] = field(default_factory=dict)
    tool_running: asyncio.Event = field(default_factory=asyncio.Event)
    tokens_seen: set[str] = field(default_factory=set)
    egress_told: list[tuple[str, str]] = field(default_factory=list)
    """Method and path of the requests that tell of egress, also of those that failed."""
    url: str = ""

    def hold(self, point: str) -> Hold:
        """Stop the next requests at a point: turn, model, answer, begin, settle, settled, commit, committed."""
        return self.holds.setdefault(point, Hold())

    def let_go(self) -> None:
        """Remove all holds; what waits there goes on."""
        for hold in self.holds.values():
            hold.released.set()
        self.holds.clear()

    def drop(self) -> None:
        """Remove all holds; what waits there never happens, as when a connection dies."""
        for hold in self.holds.values():
            hold.is_dropped = True
        self.let_go()

    async def at(self, point: str) -> None:
        """Stop here when a test wants it."""
        if hold := self.holds.get(point):
            hold.reached.set()
            await hold.released.wait()
            if hold.is_dropped:
                raise web.HTTPServiceUnavailable

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Listen on a free port for as long as the context lasts."""
        app = web.Application(middlewares=[self.middleware])
        app.router.add_get(wire.TURN_PATH, self.get_turn)
        app.router.add_post(wire.COMMIT_PATH, self.post_commit)
        app.router.add_post(wire.TOOL_BEGIN_PATH, self.post_begin)
        app.router.add_post(wire.TOOL_SETTLE_PATH, self.post_settle)
        app.router.add_post(f"{wire.OPENAI_PATH}/chat/completions", self.post_chat)
        app.router.add_post(wire.TOOL_CALL_PATH, self.post_call)
        app.router.add_get("/running", self.get_running)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
            self.url = f"{'https' if tls else 'http'}://localhost:{runner.addresses[0][1]}"
            yield self
        finally:
            self.let_go()
            await runner.cleanup()

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        self.tokens_seen.add(request.headers.get("Authorization", ""))
        if request.headers.get(wire.EGRESS_HEADER) == wire.EGRESS_OPEN:
            self.egress_told.append((request.method, request.path))
        if failures := self.failures[request.path]:
            await request.read()
            return failures.pop(0)
        return await handler(request)

    def turn(self) -> wire.Turn:
        return wire.Turn(
            k=self.k,
            round=self.round,
            agent="analyst",
            epoch=1,
            session="default/sales",
            control=self.control,
            instructions="Be brief.",
            model="m",
            max_output_tokens=self.max_output_tokens,
            tools=self.tools,
            history=self.history,
        )

    def turn_or_end(self) -> web.Response:
        return web.Response(status=204) if self.is_over else web.json_response(self.turn().to_json())

    async def get_running(self, _: web.Request) -> web.Response:
        """A command of a test says that it runs."""
        self.tool_running.set()
        return web.Response()

    async def get_turn(self, _: web.Request) -> web.Response:
        await self.at("turn")
        return self.turn_or_end()

    async def post_commit(self, request: web.Request) -> web.Response:
        commit = wire.Commit.model_validate_json(await request.read())
        await self.at("commit")
        if commit.k == self.k and not self.is_over:
            self.commits.append(commit)
            self.close_turn(commit)
        await self.at("committed")
        if commit.outcome is wire.Outcome.WAITING:
            return web.Response(status=204)
        return self.turn_or_end()

    def close_turn(self, commit: wire.Commit) -> None:
        if commit.outcome is wire.Outcome.ERROR and self.goes_on_after_errors:
            self.k += 1
            return
        if commit.outcome is wire.Outcome.WAITING:
            return
        if commit.outcome is not wire.Outcome.CONTINUE:
            self.is_over = True
            return
        answer = self.answers[self.k]
        results = [
            {"type": "function_call_output", "call_id": c["call_id"], "output": self.recorded[c["call_id"]].output}
            for c in answer.calls
        ]
        self.history = [*self.history, *answer.items(), *results]
        self.k += 1

    async def post_begin(self, request: web.Request) -> web.Response:
        begin = wire.ToolBegin.model_validate_json(await request.read())
        await self.at("begin")
        self.begun.append(begin)
        if given := self.verdicts.get(begin.call_id):
            verdict = given
            if given.output is not None:
                settle = wire.ToolSettle(call_id=begin.call_id, output=given.output, duration_milliseconds=0)
                self.recorded[begin.call_id] = settle
        elif settled := self.recorded.get(begin.call_id):
            verdict = wire.ToolVerdict(verdict=wire.Verdict.RECORDED, output=settled.output)
        else:
            verdict = wire.ToolVerdict(verdict=wire.Verdict.RUN)
        return web.json_response(verdict.to_json())

    async def post_settle(self, request: web.Request) -> web.Response:
        settle = wire.ToolSettle.model_validate_json(await request.read())
        await self.at("settle")
        self.recorded.setdefault(settle.call_id, settle)
        await self.at("settled")
        return web.Response(status=204)

    async def post_call(self, request: web.Request) -> web.Response:
        call = wire.ToolCall.model_validate_json(await request.read())
        await self.at("call")
        self.called.append(call)
        output = f"{call.name} answers {call.arguments}"
        self.recorded[call.call_id] = wire.ToolSettle(call_id=call.call_id, output=output, duration_milliseconds=1)
        return web.json_response(wire.ToolAnswer(verdict=wire.Verdict.RUN, output=output).to_json())

    async def post_chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        await self.at("model")
        self.asked[self.k].append(body)
        self.bought.setdefault(hashlib.sha256(body).hexdigest(), self.k)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for i, data in enumerate(self.answers[self.k].chunks()):
            await response.write(data)
            if i == 1:
                await self.at("answer")
        return response

"""Traces of a gateway that is told to trace, as a collector gets them; and what it counts of model calls."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client import REGISTRY

from agentsessions.gateway import otel, tracing
from agentsessions.gateway.otel import OtelTracing
from agentsessions.journal import measures
from agentsessions.runner.transport import open_http
from tests.process.proxy.house import MESSAGES, House

UID = "uid-team-s"
POD = {"Authorization": "Bearer pod-p1"}


@dataclass
class Collector:
    """A collector of traces: it takes OTLP over HTTP."""

    bodies: list[bytes] = field(default_factory=list)

    def spans(self) -> list[Span]:
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                found += [span for scope in resource.scope_spans for span in scope.spans]
        return found

    def named(self, prefix: str) -> list[Span]:
        return [span for span in self.spans() if span.name.startswith(prefix)]


def attributes(span: Span) -> dict[str, Any]:
    found = {}
    for one in span.attributes:
        kind = one.value.WhichOneof("value")
        value = getattr(one.value, kind)
        found[one.key] = [each.string_value for each in value.values] if kind == "array_value" else value
    return found


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield found, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@dataclass
class Traced:
    """A house that traces."""

    house: House
    collector: Collector
    tracing: OtelTracing

    async def spans(self) -> Collector:
        """Return what was collected, once all of it is sent. Nothing is traced from then on."""
        await asyncio.to_thread(self.tracing.close)
        return self.collector


@pytest.fixture
def captures_content(request: pytest.FixtureRequest) -> bool:
    return bool(getattr(request, "param", False))


@pytest.fixture
def traced(
    house: House, collector: tuple[Collector, str], monkeypatch: pytest.MonkeyPatch, *, captures_content: bool
) -> Iterator[Traced]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector[1])
    yield Traced(house, collector[0], otel.start(captures_content=captures_content))
    tracing.use(tracing.NoTracing())
    measures.SPANS.write = measures.Spans().write


async def play_a_turn(house: House) -> str:
    """Play a turn as a runner does, over its own client; return the trace that it was told of."""
    async with open_http(house.url, Path("none")) as http:
        turn = await http.get("/runner/v1/turn", headers=POD)
        chat = {"model": "good", "messages": MESSAGES}
        assert (await http.post("/openai/v1/chat/completions", json=chat, headers=POD)).is_success
        commit = {"k": turn.json()["k"], "outcome": "final"}
        assert (await http.post("/runner/v1/turn/commit", json=commit, headers=POD)).is_success
    parent: str = turn.headers["traceparent"]
    return parent


async def test_a_turn_s_requests_model_call_and_commits_are_one_trace(traced: Traced) -> None:
    _, trace_id, turn_id, _ = (await play_a_turn(traced.house)).split("-")
    found = await traced.spans()
    (turn,) = found.named("invoke_agent agent")
    (request,) = found.named("POST /openai/v1/chat/completions")
    (call,) = found.named("chat good")
    assert (turn.trace_id.hex(), turn.span_id.hex()) == (trace_id, turn_id)
    assert attributes(turn)["agentsessions.outcome"] == "final"
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (trace_id, turn_id)
    assert call.parent_span_id == request.span_id
    assert call.span_id in {commit.parent_span_id for commit in found.named("journal commit")}
    wanted = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "good",
        "gen_ai.conversation.id": UID,
        "gen_ai.agent.name": "agent",
        "gen_ai.usage.input_tokens": 50,
        "gen_ai.usage.output_tokens": 5,
        "gen_ai.response.finish_reasons": ["stop"],
    }
    assert wanted.items() <= attributes(call).items()
    assert attributes(request)["http.response.status_code"] == 200
    assert attributes(request)["http.route"] == "/openai/v1/chat/completions"


@pytest.mark.parametrize("captures_content", [False, True], indirect=True, ids=["not asked", "asked"])
async def test_content_is_in_traces_only_when_asked_for(traced: Traced, *, captures_content: bool) -> None:
    await play_a_turn(traced.house)
    found = await traced.spans()
    assert any(b"say hello" in body for body in found.bodies) is captures_content
    assert any(b"hellothere" in body for body in found.bodies) is captures_content
    if captures_content:
        (call,) = found.named("chat good")
        assert json.loads(attributes(call)["gen_ai.input.messages"]) == MESSAGES


async def test_a_model_call_that_fails_says_so_without_the_error_s_text(traced: Traced) -> None:
    assert (await traced.house.ask("malformed")).is_error
    found = await traced.spans()
    (call,) = found.named("chat malformed")
    assert call.status.code == 2
    assert attributes(call)["error.type"] == "model_error"
    assert list(call.events) == []


async def test_a_client_s_trace_goes_on_in_the_gateway(traced: Traced) -> None:
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    async with traced.house.person() as alice:
        await alice.get("/api/v1/agent-sessions/s", headers={"traceparent": parent, "X-Request-Id": "r1"})
    (span,) = (await traced.spans()).named("GET /api/v1/agent-sessions/{session}")
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == ("ab" * 16, "cd" * 8)
    assert attributes(span)["agentsessions.request.id"] == "r1"


async def test_a_gateway_that_does_not_trace_names_no_trace(house: House) -> None:
    async with house.client() as pod:
        assert "traceparent" not in (await pod.get("/runner/v1/turn")).headers


def test_a_gateway_that_does_not_trace_loads_nothing_for_it() -> None:
    heavy = ("opentelemetry.sdk", "opentelemetry.exporter", "google.protobuf", "requests")
    code = f"import sys, agentsessions.gateway.serving; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="operator")
    assert done.stdout.strip() == "[]"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_model_calls_are_counted_by_what_became_of_them(house: House) -> None:
    def counts() -> dict[str, float]:
        return {
            "bought": value("agentsession_model_calls_total", outcome="bought"),
            "replayed": value("agentsession_model_calls_total", outcome="replayed"),
            "failed": value("agentsession_model_calls_total", outcome="failed"),
            "model_error": value("agentsession_model_call_failures_total", code="model_error"),
            "input": value("agentsession_model_tokens_total", direction="input"),
            "output": value("agentsession_model_tokens_total", direction="output"),
            "seconds": value("agentsession_model_call_seconds_count"),
        }

    before = counts()
    await house.ask("good")
    await house.put_session(pod="p2", epoch=2)
    await house.ask("good", pod="p2")
    await house.ask("malformed", pod="p2")
    found = {name: number - before[name] for name, number in counts().items()}
    assert found == {
        "bought": 1,
        "replayed": 1,
        "failed": 1,
        "model_error": 1,
        "input": 50,
        "output": 5,
        "seconds": 2,
    }

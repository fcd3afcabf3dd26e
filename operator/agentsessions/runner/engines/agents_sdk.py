"""One turn through the OpenAI Agents SDK, against the gateway's OpenAI-compatible endpoint."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

import httpx2

from agentsessions.api.reasons import ErrorCode
from agentsessions.api.wire import AGENT_HEADER, OPENAI_PATH, Outcome, Turn
from agentsessions.runner.engine import Played, Toolbox
from agentsessions.runner.errors import (
    GatewayError,
    ModelFailedError,
    PassingError,
    PersonNeededError,
    to_error,
    to_seconds,
)
from agentsessions.runner.imports import agents, openai
from agentsessions.runner.tools.tool import Offer
from agentsessions.runner.transport import CONNECT_TIMEOUT_SECONDS, Token

MODEL_TIMEOUT_SECONDS: Final = 1800.0
"""Silence that is borne: no ping comes before the provider's first byte. Dead peers are found by keep-alive probes."""

# Tracing would dial the vendor and delay the exit by seconds; `RunConfig` turns it off once more.
agents.set_tracing_disabled(True)
agents.set_trace_processors([])


class AgentsSdkEngine:
    """Plays turns with the Agents SDK. Takes the HTTP client that dials the gateway alone."""

    def __init__(self, http: httpx2.AsyncClient, gateway_url: str, token: Token) -> None:
        self._client = openai.AsyncOpenAI(
            base_url=f"{gateway_url}{OPENAI_PATH}",
            api_key=token.provide,
            http_client=http,
            max_retries=0,
            timeout=httpx2.Timeout(MODEL_TIMEOUT_SECONDS, connect=CONNECT_TIMEOUT_SECONDS),
        )

    async def play(self, turn: Turn, toolbox: Toolbox) -> Played:
        """Ask the model once and run the tools that it asks for."""
        calls = Calls(toolbox)
        run = agents.Runner.run_streamed(
            self._to_agent(turn, calls),
            cast("list[agents.TResponseInputItem]", turn.history),
            max_turns=None,
            run_config=RUN_CONFIG,
        )
        try:
            await play_one_turn(run)
        except (openai.OpenAIError, agents.AgentsException) as error:
            calls.raise_failure()
            raise to_gateway_error(error) from error
        finally:
            await calls.end()
        calls.raise_failure()
        asked = [item for answer in run.raw_responses for item in answer.output if item.type == "function_call"]
        if not run.raw_responses:
            raise ModelFailedError(ErrorCode.EMPTY_ANSWER, f"turn {turn.k}: the model's stream held no answer")
        for call in asked:
            # The SDK answers a call of an unknown tool by itself; the journal must have that result too.
            await calls.ensure(call.call_id, call.name, call.arguments)
        calls.raise_waiting()  # only now: all other calls of the answer are settled
        return Played(Outcome.CONTINUE if asked else Outcome.FINAL)

    def _to_agent(self, turn: Turn, calls: "Calls") -> agents.Agent[Any]:
        return agents.Agent(
            name=turn.agent,
            instructions=turn.instructions,
            model=agents.OpenAIChatCompletionsModel(turn.model, self._client),
            model_settings=to_model_settings(turn),
            tools=[to_function_tool(tool, calls) for tool in calls.toolbox.tools],
        )


class Calls:
    """The tool calls of one turn. What the gateway says must not be turned into result text by the SDK."""

    def __init__(self, toolbox: Toolbox) -> None:
        self.toolbox = toolbox
        self._answered: set[str] = set()
        self._failure: Exception | None = None
        self._waiting: list[str] = []
        self._is_over = False
        self._running: set[asyncio.Task[Any]] = set()

    async def invoke(self, call_id: str, name: str, arguments: str) -> str:
        """Return a call's result text; keep the first error for `raise_failure`, and then start nothing more."""
        if self._is_over or self._failure is not None:
            return ""
        task = asyncio.ensure_future(self.toolbox.call(call_id, name, arguments))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        try:
            # Shielded, so that a call is cancelled once, by `end`: a second time would cut its cleaning up short.
            text = await asyncio.shield(task)
        except PersonNeededError:
            self._waiting.append(call_id)
            return ""
        except Exception as error:  # noqa: BLE001 - raised again by raise_failure, past the SDK
            self._failure = error
            return ""
        self._answered.add(call_id)
        return text

    async def ensure(self, call_id: str, name: str, arguments: str) -> None:
        """Make sure that a call has a result."""
        if call_id not in self._answered and call_id not in self._waiting:
            await self.toolbox.call(call_id, name, arguments)

    def raise_waiting(self) -> None:
        """Raise that a person is needed, if a call waits for one."""
        if self._waiting:
            raise PersonNeededError(", ".join(self._waiting))

    async def end(self) -> None:
        """Start no more calls, stop those that run, and wait until nothing is left of them."""
        self._is_over = True
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def raise_failure(self) -> None:
        """Raise the error that ended the turn's calls, if one did."""
        if self._failure is not None:
            raise self._failure


async def play_one_turn(run: agents.RunResultStreaming) -> None:
    """Let a run play one turn and read it to its end; when cancelled, end what it started."""
    try:
        is_first = True
        async for _ in run.stream_events():
            if is_first:
                # Earlier there would be no turn at all, later perhaps two.
                run.cancel("after_turn")
                is_first = False
    finally:
        task = run.run_loop_task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})


def to_model_settings(turn: Turn) -> agents.ModelSettings:
    """Return the turn's sampling settings. Usage is not reported by other base URLs unless asked for."""
    settings = turn.settings
    return agents.ModelSettings(
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=turn.max_output_tokens,
        include_usage=True,
        extra_headers={AGENT_HEADER: turn.agent},
        extra_body={"seed": settings.seed} if settings.seed is not None else None,
    )


def to_function_tool(tool: Offer, calls: Calls) -> agents.FunctionTool:
    """Return a tool as the SDK takes it; arguments come raw, and are checked where the call is run."""
    return agents.FunctionTool(
        name=tool.name,
        description=tool.description,
        params_json_schema=dict(tool.parameters),
        on_invoke_tool=to_invocation(tool.name, calls),
        strict_json_schema=False,
    )


def to_invocation(name: str, calls: Calls) -> "Callable[[agents.ToolContext[Any], str], Awaitable[str]]":
    """Return the function that the SDK calls for a tool."""

    async def invoke(context: Any, arguments: str) -> str:
        return await calls.invoke(context.tool_call_id, name, arguments)

    return invoke


def to_gateway_error(error: Exception) -> GatewayError:
    """Return what an error of the SDK or its client means for the turn."""
    match error:
        case openai.APIConnectionError():
            return PassingError(f"model call: {type(error.__cause__ or error).__name__}: {error.__cause__ or error}")
        case openai.APIStatusError():
            found = to_error(
                error.status_code,
                error.code,
                f"model call: {error.message}",
                retry_after_seconds=to_seconds(error.response.headers.get("retry-after")),
            )
        case openai.APIError():
            found = to_error(None, error.code, f"model call: {error.message}")
        case _:
            return ModelFailedError(ErrorCode.MODEL_ERROR, f"model call: {type(error).__name__}: {error}")
    # A plain refusal of a model call is a failure of the model as far as the session is concerned.
    return found if type(found) is not GatewayError else ModelFailedError(ErrorCode.MODEL_ERROR, str(found))


RUN_CONFIG: Final = agents.RunConfig(
    tracing_disabled=True,
    trace_include_sensitive_data=False,
    tool_not_found_behavior="return_error_to_model",
    # The calls of one answer share one workspace: they run in the order in which the model wrote them.
    tool_execution=agents.ToolExecutionConfig(max_function_tool_concurrency=1),
)

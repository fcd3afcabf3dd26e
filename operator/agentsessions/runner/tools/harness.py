"""What makes a tool call count once: begin, run or take what is recorded, keep, settle, and only then answer."""

import asyncio
import json
import time
from collections.abc import Sequence
from typing import Any, Final

import structlog
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from agentsessions.api.names import MAX_TOOL_OUTPUT_BYTES
from agentsessions.api.wire import ToolBegin, ToolSettle, Verdict
from agentsessions.runner.errors import PersonNeededError
from agentsessions.runner.gateway import Gateway
from agentsessions.runner.tools.results import Result, Results
from agentsessions.runner.tools.text import shorten
from agentsessions.runner.tools.tool import Tool, ToolFailedError

log = structlog.get_logger(__name__)

LONGEST_RUN_SECONDS: Final = 660.0
"""Bound for tools that do not keep their own."""
MAX_ARGUMENT_CHARACTERS: Final = 262_144


class Harness:
    """The tools of one turn, with their calls recorded. Raises what the gateway's client raises, and nothing else."""

    def __init__(self, gateway: Gateway, tools: Sequence[Tool], results: Results) -> None:
        self.tools = tuple(tools)
        self._by_name = {tool.name: tool for tool in tools}
        self._gateway = gateway
        self._results = results

    async def call(self, call_id: str, name: str, arguments: str) -> str:
        """Return the result text of a call; the journal has it when this returns."""
        tool = self._by_name.get(name)
        if tool is not None:
            verdict = await self._gateway.begin_tool(to_begin(tool, call_id, arguments))
            if verdict.verdict in {Verdict.RECORDED, Verdict.DENY}:
                self._results.forget(call_id)
                return verdict.output or ""
            if verdict.verdict in {Verdict.ASK, Verdict.IN_DOUBT}:
                raise PersonNeededError(call_id)
        # For a tool that is not there nothing will run, so there is nothing to ask; its name may be no name at all.
        result = self._results.load(call_id) or await self._run(call_id, name, arguments)
        await self._gateway.settle_tool(
            ToolSettle(
                call_id=call_id,
                output=result.output,
                is_error=result.is_error,
                duration_milliseconds=result.duration_milliseconds,
            )
        )
        self._results.forget(call_id)
        return result.output

    async def _run(self, call_id: str, name: str, arguments: str) -> Result:
        started = time.monotonic()
        try:
            output, is_error = await self._run_tool(name, arguments), False
        except ToolFailedError as error:
            output, is_error = str(error), True
        except TimeoutError:
            output, is_error = f"{name}: stopped after {LONGEST_RUN_SECONDS:.0f} s", True
        except Exception as error:  # a tool's bug must not end the session; the model and the log get to know it
            log.exception("tool failed", tool=name, call_id=call_id)
            output, is_error = f"{name}: {type(error).__name__}: {error}", True
        result = Result(
            output=shorten(output, MAX_TOOL_OUTPUT_BYTES),
            is_error=is_error,
            duration_milliseconds=int((time.monotonic() - started) * 1000),
        )
        # No await between the tool's end and this: a stop request cannot come in between.
        self._results.save(call_id, result)
        log.info("tool ran", tool=name, call_id=call_id, is_error=is_error, milliseconds=result.duration_milliseconds)
        return result

    async def _run_tool(self, name: str, arguments: str) -> str:
        tool = self._by_name.get(name)
        if tool is None:
            offered = ", ".join(self._by_name) or "none"
            raise ToolFailedError(f"there is no tool {name[:64]!r}; tools on offer: {offered}")
        async with asyncio.timeout(LONGEST_RUN_SECONDS):
            return await tool.run(to_arguments(tool, arguments))


def to_begin(tool: Tool, call_id: str, arguments: str) -> ToolBegin:
    """Return the question whether to run a call."""
    return ToolBegin(
        call_id=call_id,
        name=tool.name,
        # Longer ones are never run, and the gateway has them whole in the answer.
        arguments=arguments[:MAX_ARGUMENT_CHARACTERS],
        side_effect=tool.side_effect,
    )


def to_arguments(tool: Tool, arguments: str) -> dict[str, Any]:
    """Return the arguments that a model wrote, when they fit the tool's schema.

    Raises:
        ToolFailedError: They do not; the text tells the model what to change.
    """
    if len(arguments) > MAX_ARGUMENT_CHARACTERS:
        raise ToolFailedError(
            f"{tool.name}: the arguments have {len(arguments)} characters, {MAX_ARGUMENT_CHARACTERS} are allowed"
        )
    try:
        parsed = json.loads(arguments)
    except (ValueError, RecursionError) as error:
        raise ToolFailedError(f"{tool.name}: the arguments are not JSON: {error}") from error
    wrong = best_match(Draft202012Validator(tool.parameters).iter_errors(parsed))
    if wrong is not None:
        raise ToolFailedError(f"{tool.name}: the arguments do not fit its schema: {wrong.json_path}: {wrong.message}")
    return dict(parsed)

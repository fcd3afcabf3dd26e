"""What makes a tool call count once: begin, run or take what is recorded, keep, settle, and only then answer."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

import structlog

from agentsessions.api.names import MAX_TOOL_ARGUMENT_CHARACTERS, MAX_TOOL_OUTPUT_BYTES
from agentsessions.api.shortened import shorten
from agentsessions.api.tool_arguments import BadArgumentsError, read_arguments
from agentsessions.api.wire import ToolBegin, ToolCall, ToolSettle, Verdict
from agentsessions.runner.gateway import Gateway
from agentsessions.runner.tools.proxied import Proxied
from agentsessions.runner.tools.results import Result, Results
from agentsessions.runner.tools.tool import Tool, ToolFailedError

log = structlog.get_logger(__name__)

LONGEST_RUN_SECONDS: Final = 660.0
"""Bound for tools that do not keep their own."""


class Harness:
    """The tools of one turn, with their calls recorded. Raises what the gateway's client raises, and nothing else."""

    def __init__(self, gateway: Gateway, tools: Sequence[Tool | Proxied], results: Results) -> None:
        self.tools = tuple(tools)
        self._by_name = {tool.name: tool for tool in tools}
        self._gateway = gateway
        self._results = results

    async def call(self, call_id: str, name: str, arguments: str) -> str:
        """Return the result text of a call; the journal has it when this returns."""
        tool = self._by_name.get(name)
        if isinstance(tool, Proxied) and len(arguments) <= MAX_TOOL_ARGUMENT_CHARACTERS:
            # What the gateway runs, it begins and settles as well.
            asked = ToolCall(call_id=call_id, name=name, arguments=arguments)
            return (await self._gateway.call_tool(asked)).output
        if tool is not None and not isinstance(tool, Proxied):
            verdict = await self._gateway.begin_tool(to_begin(tool, call_id, arguments))
            if verdict.verdict is Verdict.RECORDED:
                self._results.forget(call_id)
                return verdict.output or ""
        # For a tool that is not there nothing will run, so there is nothing to ask; its name may be no name at all.
        # Nor for arguments that are too long to be sent.
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
        try:
            fitting = read_arguments(tool.name, tool.parameters, arguments)
        except BadArgumentsError as error:
            raise ToolFailedError(str(error)) from error
        if isinstance(tool, Proxied):
            raise ToolFailedError(f"{name}: only the gateway runs it")
        async with asyncio.timeout(LONGEST_RUN_SECONDS):
            return await tool.run(fitting)


def to_begin(tool: Tool, call_id: str, arguments: str) -> ToolBegin:
    """Return the question whether to run a call."""
    return ToolBegin(
        call_id=call_id,
        name=tool.name,
        # Longer ones are never run, and the gateway has them whole in the answer.
        arguments=arguments[:MAX_TOOL_ARGUMENT_CHARACTERS],
        side_effect=tool.side_effect,
    )

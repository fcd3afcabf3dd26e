"""The runner put together: everything that `main` may import only once signals are handled."""

import asyncio
import os
import signal
from typing import Final

import structlog

from agentsessions.api.reasons import ExitCode
from agentsessions.runner.egress import watch_egress
from agentsessions.runner.engines.agents_sdk import AgentsSdkEngine
from agentsessions.runner.errors import FencedError, GatewayError, LimitReachedError, RefusedError
from agentsessions.runner.gateway import Gateway
from agentsessions.runner.loop import TurnLoop
from agentsessions.runner.settings import Settings, to_child_env
from agentsessions.runner.transport import Token, open_http
from agentsessions.runner.workspace import Workspace

log = structlog.get_logger(__name__)

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings) -> ExitCode:
    """Play the session of this pod; return the code to exit with."""
    return asyncio.run(play(settings))


async def play(settings: Settings) -> ExitCode:
    """Play until the end, or until the pod is told to stop; then end at the next await, starting nothing more."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine that runs has a task
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        code = await play_to_end(settings)
    except asyncio.CancelledError:
        log.info("stopped", reason="told to")
        return ExitCode.TERMINATED
    except GatewayError as error:
        code = to_exit_code(error)
        log.warning("stopped", reason=str(error), exit_code=int(code))
        return code
    log.info("ended", exit_code=int(code))
    return code


async def play_to_end(settings: Settings) -> ExitCode:
    """Play until there are no more turns."""
    workspace = Workspace(settings.workspace_dir, to_child_env(os.environ), settings.data_dir)
    copied = workspace.copy_context(settings.context_dir)
    log.info("started", gateway=settings.gateway_url, files_copied=len(copied))
    token = Token(settings.token_path)
    async with open_http(settings.gateway_url, settings.ca_path) as http, watch_egress(settings.forbidden) as egress:
        gateway = Gateway(http, token, settings.patience, egress)
        engine = AgentsSdkEngine(http, settings.gateway_url, token)
        return await TurnLoop(gateway, engine, workspace, settings.patience).run()


def to_exit_code(error: GatewayError) -> ExitCode:
    """Return the exit code for what ended the runner."""
    match error:
        case FencedError():
            return ExitCode.TERMINATED
        case LimitReachedError():
            return ExitCode.LIMIT
        case RefusedError():
            return ExitCode.REFUSED
        case _:
            return ExitCode.ERROR

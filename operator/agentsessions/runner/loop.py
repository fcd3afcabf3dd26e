"""The turn loop: fetch, obey, play, commit, next. All of it may happen again; nothing of it counts twice."""

from typing import Final, assert_never

import structlog

from agentsessions.api.reasons import ErrorCode, ExitCode
from agentsessions.api.wire import Commit, Control, Outcome, Turn, TurnError
from agentsessions.runner.engine import Engine, Played
from agentsessions.runner.errors import GatewayError, ModelFailedError, PersonNeededError
from agentsessions.runner.gateway import Gateway
from agentsessions.runner.retry import passing_retry
from agentsessions.runner.settings import Patience
from agentsessions.runner.tools.harness import Harness
from agentsessions.runner.workspace import Workspace

log = structlog.get_logger(__name__)

MAX_MESSAGE_CHARACTERS: Final = 1024


class TurnLoop:
    """Plays an agent's turns until there are no more."""

    def __init__(self, gateway: Gateway, engine: Engine, workspace: Workspace, patience: Patience) -> None:
        self._gateway = gateway
        self._engine = engine
        self._workspace = workspace
        self._patience = patience

    async def run(self) -> ExitCode:
        """Play turn after turn; return the code to exit with."""
        turn = await self._gateway.fetch_turn()
        while turn is not None:
            structlog.contextvars.bind_contextvars(
                session=turn.session, agent=turn.agent, epoch=turn.epoch, turn=turn.k
            )
            match turn.control:
                case Control.PAUSE:
                    return ExitCode.PAUSED
                case Control.STOP:
                    return ExitCode.TERMINATED
                case Control.IDLE:
                    return ExitCode.IDLE
                case Control.WAIT:
                    turn = await self._gateway.fetch_turn()
                    continue
                case Control.GO:
                    commit = await self._play(turn)
                case _:
                    assert_never(turn.control)
            turn = await self._gateway.commit(commit)
            log.info("turn committed", outcome=commit.outcome.value)
            if commit.outcome is Outcome.WAITING:
                return ExitCode.APPROVAL
            if commit.error is not None and turn is None:  # else the gateway has an answer to it: another turn
                return ExitCode.REFUSED if commit.error.code is ErrorCode.POLICY else ExitCode.ERROR
        return ExitCode.DONE

    async def _play(self, turn: Turn) -> Commit:
        try:
            played = await self._play_patiently(turn)
        except PersonNeededError as error:
            log.info("turn waits for a person", calls=str(error))
            return Commit(k=turn.k, round=turn.round, outcome=Outcome.WAITING)
        except ModelFailedError as error:
            return to_failure(turn, error.code, str(error))
        except GatewayError:
            raise
        except Exception as error:  # our bug, or the library's: it ends this epoch with its cause in the journal
            log.exception("turn failed")
            return to_failure(turn, ErrorCode.RUNNER_ERROR, f"{type(error).__name__}: {error}")
        return Commit(k=turn.k, round=turn.round, outcome=played.outcome)

    async def _play_patiently(self, turn: Turn) -> Played:
        """Play the turn, from its start again when the gateway went away: what was bought and run is recorded."""
        async for attempt in passing_retry(self._patience, what="turn"):
            with attempt:
                harness = Harness(self._gateway, self._workspace.tools(turn.tools), self._workspace.results)
                return await self._engine.play(turn, harness)
        raise AssertionError("a retry loop ends by return or raise")  # pragma: no cover


def to_failure(turn: Turn, code: ErrorCode, message: str) -> Commit:
    """Return the commit of a turn that failed."""
    error = TurnError(code=code, message=message[:MAX_MESSAGE_CHARACTERS])
    return Commit(k=turn.k, round=turn.round, outcome=Outcome.ERROR, error=error)

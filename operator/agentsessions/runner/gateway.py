"""Client of the runner routes: fetch the pinned turn, begin and settle tools, commit.

Every request may be sent again: the gateway answers the same request alike.
"""

from http import HTTPStatus
from typing import Final, TypeVar

import httpx2
from pydantic import ValidationError

from agentsessions.api.model import ApiModel
from agentsessions.api.wire import (
    AGENT_HEADER,
    COMMIT_PATH,
    EGRESS_HEADER,
    EGRESS_OPEN,
    TOOL_BEGIN_PATH,
    TOOL_CALL_PATH,
    TOOL_SETTLE_PATH,
    TURN_PATH,
    Commit,
    Problem,
    ToolAnswer,
    ToolBegin,
    ToolCall,
    ToolSettle,
    ToolVerdict,
    Turn,
)
from agentsessions.runner.egress import Egress
from agentsessions.runner.errors import GatewayError, PassingError, to_error, to_seconds
from agentsessions.runner.retry import passing_retry
from agentsessions.runner.settings import Patience
from agentsessions.runner.transport import CONNECT_TIMEOUT_SECONDS, Token

M = TypeVar("M", bound=ApiModel)
CALL_TIMEOUT: Final = httpx2.Timeout(900.0, connect=CONNECT_TIMEOUT_SECONDS)
"""Longer than the gateway lets any tool run: it answers with what became of the call."""
TOLD_WITH: Final = frozenset({TURN_PATH, COMMIT_PATH})
"""Requests that tell, once, that the pod reaches what it must not."""


class Gateway:
    """The gateway as the runner sees it.

    All methods wait out what passes, and raise `FencedError`, `LimitReachedError`, `RefusedError`, `PassingError`
    (patience ended) or plain `GatewayError`.
    """

    def __init__(
        self, http: httpx2.AsyncClient, token: Token, patience: Patience, egress: Egress | None = None
    ) -> None:
        self._http = http
        self._token = token
        self._patience = patience
        self._egress = egress or Egress()
        self._is_egress_told = False
        self._agent = ""
        """Whose turn was given out last: what is asked from then on is for that one, also when it is sent again."""

    async def fetch_turn(self) -> Turn | None:
        """Return the pinned turn, or none when the session has nothing left to play."""
        return self._take(await self._send("GET", TURN_PATH))

    async def commit(self, commit: Commit) -> Turn | None:
        """Close a turn; return the next one, or none after the last."""
        return self._take(await self._send("POST", COMMIT_PATH, commit))

    async def begin_tool(self, begin: ToolBegin) -> ToolVerdict:
        """Ask what becomes of a tool call."""
        return parse(ToolVerdict, await self._send("POST", TOOL_BEGIN_PATH, begin))

    async def settle_tool(self, settle: ToolSettle) -> None:
        """Report a tool's result; when this returns, the journal has it."""
        await self._send("POST", TOOL_SETTLE_PATH, settle)

    async def call_tool(self, call: ToolCall) -> ToolAnswer:
        """Have a tool run by the gateway; when this returns, the journal has the result."""
        return parse(ToolAnswer, await self._send("POST", TOOL_CALL_PATH, call, CALL_TIMEOUT))

    def _take(self, response: httpx2.Response) -> Turn | None:
        turn = to_turn(response)
        if turn is not None:
            self._agent = turn.agent
        return turn

    async def _send(
        self, method: str, path: str, body: ApiModel | None = None, patience: httpx2.Timeout | None = None
    ) -> httpx2.Response:
        async for attempt in passing_retry(self._patience, what=path):
            with attempt:
                return await self._send_once(method, path, body, patience or self._http.timeout)
        raise AssertionError("a retry loop ends by return or raise")  # pragma: no cover

    async def _send_once(
        self, method: str, path: str, body: ApiModel | None, patience: httpx2.Timeout
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self._token.read()}"}
        if self._agent:
            headers[AGENT_HEADER] = self._agent
        if path in TOLD_WITH and self._egress.is_open and not self._is_egress_told:
            headers[EGRESS_HEADER] = EGRESS_OPEN
        try:
            response = await self._http.request(
                method, path, headers=headers, json=body.to_json() if body is not None else None, timeout=patience
            )
        except httpx2.TransportError as error:
            raise PassingError(f"{method} {path}: {type(error).__name__}: {error}") from error
        if not response.is_success:
            raise to_problem_error(method, path, response)
        self._is_egress_told |= EGRESS_HEADER in headers
        return response


def to_turn(response: httpx2.Response) -> Turn | None:
    """Return the turn in an answer, or none when it says that there is none."""
    return None if response.status_code == HTTPStatus.NO_CONTENT else parse(Turn, response)


def parse(model: type[M], response: httpx2.Response) -> M:
    """Return the body of an answer. Fields that a newer gateway has added are not for us.

    Raises:
        GatewayError: The body is not what the wire says.
    """
    try:
        return model.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        raise GatewayError(
            f"{response.request.method} {response.request.url.path}: the gateway's answer is not a {model.__name__}; "
            f"is the runner newer than the gateway? {error}"
        ) from error


def to_problem_error(method: str, path: str, response: httpx2.Response) -> GatewayError:
    """Return the error that an answer other than success stands for."""
    try:
        problem = Problem.model_validate_json(response.content, extra="ignore")
        code, detail = problem.code, problem.detail
    except ValidationError:
        code, detail = None, response.text[:200]
    return to_error(
        response.status_code,
        code,
        f"{method} {path}: {response.status_code} {code or ''}: {detail}",
        retry_after_seconds=to_seconds(response.headers.get("retry-after")),
    )

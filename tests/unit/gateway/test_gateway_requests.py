"""Each request has one id, which its answer, its problems and its log lines name."""

import json
import logging
from collections.abc import Awaitable, Callable, Iterator

import httpx2
import pytest
import structlog
from fastapi import FastAPI, WebSocket
from structlog.testing import LogCapture
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from agentsessions.api.reasons import RefusalCode
from agentsessions.gateway import metrics, problems
from agentsessions.gateway.problem_codes import ProblemCode
from agentsessions.gateway.problems import ProblemError, not_found
from agentsessions.gateway.requests import HEADER, RequestContext, name_session
from tests.unit.gateway.conftest import Serve

Ask = Callable[..., Awaitable[httpx2.Response]]
UUID_LENGTH = 36
log = structlog.get_logger()


def an_app() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.get("/api/ok")
    async def ok() -> str:
        name_session("u1")
        log.info("at work")
        return "ok"

    @app.post("/api/ok")
    async def change() -> str:
        return "changed"

    @app.get("/api/none")
    async def none() -> None:
        raise not_found("There is none.")

    @app.get("/api/bug")
    async def bug() -> None:
        raise KeyError("bug")

    @app.post("/runner/ok")
    async def turn() -> str:
        return "turn"

    @app.post("/runner/stranger")
    async def stranger() -> None:
        raise ProblemError(ProblemCode.UNAUTHENTICATED, "Who are you?")

    @app.post("/runner/early")
    async def early() -> None:
        raise ProblemError(RefusalCode.NOT_FENCED, "Ask again.")

    @app.websocket("/api/{name}/ws")
    async def follow(websocket: WebSocket, name: str, after: int = 0) -> None:
        if name == "none":
            raise not_found("There is none.")
        await websocket.accept()
        await websocket.send_text(f"{name} after {after}")

    app.add_middleware(metrics.RequestMetrics)
    app.add_middleware(RequestContext)
    return app


@pytest.fixture
def logged() -> Iterator[LogCapture]:
    capture = LogCapture()
    structlog.configure(processors=[structlog.contextvars.merge_contextvars, capture], cache_logger_on_first_use=False)
    yield capture
    structlog.reset_defaults()


@pytest.fixture
def ask(logged: LogCapture) -> Ask:
    del logged  # it must be there: an access log that nobody takes goes to standard output

    async def ask(path: str, given: str | None = None, method: str = "GET") -> httpx2.Response:
        transport = httpx2.ASGITransport(app=an_app(), raise_app_exceptions=False)
        headers = [(HEADER.encode(), given.encode())] if given is not None else []
        async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
            return await client.request(method, path, headers=headers)

    return ask


@pytest.mark.parametrize("given", ["abc", "7f3a-1.2_3", "a" * 128, "Root=1-67891233-abcdef012345678912345678"])
async def test_a_sane_id_of_the_client_is_the_request_s(ask: Ask, given: str) -> None:
    assert (await ask("/api/ok", given)).headers[HEADER] == given


@pytest.mark.parametrize("given", [None, "", "a" * 129, "a b", "a\tb", '"', "é", "-a"])
async def test_any_other_request_gets_an_id(ask: Ask, given: str | None) -> None:
    found = (await ask("/api/ok", given)).headers[HEADER]
    assert len(found) == UUID_LENGTH
    assert found != given


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(("path", "status"), [("/api/none", 404), ("/api/nowhere", 404), ("/api/bug", 500)])
async def test_a_problem_names_the_request(ask: Ask, path: str, status: int) -> None:
    answer = await ask(path, "r1")
    assert (answer.status_code, answer.json()["requestId"], answer.headers[HEADER]) == (status, "r1", "r1")


async def test_each_log_line_of_a_request_names_it_and_its_session(ask: Ask, logged: LogCapture) -> None:
    await ask("/api/ok", "r1")
    await ask("/api/none", "r2")
    at_work, refused = logged.entries
    assert (at_work["event"], at_work["request_id"], at_work["session_uid"]) == ("at work", "r1", "u1")
    assert (refused["event"], refused["request_id"], refused["status"]) == ("request refused", "r2", 404)
    assert "session_uid" not in refused


@pytest.mark.parametrize(
    ("method", "path", "events"),
    [
        pytest.param("POST", "/api/ok", ["request changed something"], id="a change of a person"),
        pytest.param("GET", "/api/none", ["request refused"], id="a refusal of a person"),
        pytest.param("POST", "/runner/stranger", ["request refused"], id="a pod that is not let in"),
        pytest.param("POST", "/runner/ok", [], id="but no turn of a pod"),
        pytest.param("POST", "/runner/early", [], id="and no pod that is early"),
    ],
)
async def test_the_access_log_has_changes_and_refusals(
    ask: Ask, logged: LogCapture, method: str, path: str, events: list[str]
) -> None:
    await ask(path, method=method)
    assert [entry["event"] for entry in logged.entries] == events


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        pytest.param("/api/none/ws", 404, "There is none.", id="what is not there"),
        pytest.param("/api/one/ws?after=x", 422, "query.after", id="what is not valid"),
    ],
)
async def test_a_websocket_is_refused_as_a_request_is(
    serve: Serve, logged: LogCapture, caplog: pytest.LogCaptureFixture, path: str, status: int, says: str
) -> None:
    url = f"ws://127.0.0.1:{await serve(an_app())}"
    with pytest.raises(InvalidStatus) as refused:
        await connect(url + path, additional_headers={HEADER: "r1"}, proxy=None)
    answer = refused.value.response
    problem = json.loads(answer.body or b"{}")
    assert (answer.status_code, answer.headers[HEADER], problem["requestId"]) == (status, "r1", "r1")
    assert says in problem["detail"]
    assert [(one["event"], one["method"], one["status"]) for one in logged.entries] == [
        ("request refused", "GET", status)
    ]
    async with connect(url + "/api/one/ws?after=3", proxy=None) as socket:
        assert await socket.recv() == "one after 3"
    assert [one.message for one in caplog.records if one.levelno >= logging.WARNING] == []

from typing import Annotated, Any

import httpx2
import pytest
from fastapi import FastAPI, Query

from agentsessions.api.reasons import ErrorCode, RefusalCode
from agentsessions.engine.errors import Forbidden, Unreachable
from agentsessions.gateway import problems
from agentsessions.gateway.problems import ProblemError


def an_app() -> FastAPI:
    app = FastAPI()
    problems.install(app)

    @app.get("/refused")
    async def refused() -> None:
        raise ProblemError(RefusalCode.NOT_FENCED, "Ask again.", headers={"Retry-After": "1"})

    @app.get("/openai/v1/limit")
    async def limit() -> None:
        raise ProblemError(RefusalCode.TOKEN_LIMIT, "No tokens left.")

    @app.get("/openai/v1/busy")
    async def busy() -> None:
        raise ProblemError(ErrorCode.OVERLOADED, "Wait.")

    @app.get("/openai/v1/final")
    async def final() -> None:
        raise ProblemError(ErrorCode.OVERLOADED, "Tried often.", final=True, error={"code": "mine"})

    @app.get("/number")
    async def number(value: Annotated[int, Query(ge=1)]) -> int:
        return value

    @app.get("/bug")
    async def bug() -> None:
        raise ZeroDivisionError("secret of the implementation")

    @app.get("/away")
    async def away() -> None:
        raise Unreachable("GET /api: connection refused")

    @app.get("/no-right")
    async def no_right() -> None:
        raise Forbidden(403, "Forbidden", "the gateway itself may not")

    return app


async def ask(path: str, method: str = "GET") -> tuple[httpx2.Response, dict[str, Any]]:
    transport = httpx2.ASGITransport(app=an_app(), raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://gateway") as client:
        response = await client.request(method, path)
    return response, response.json()


@pytest.mark.requirement("OPS-8")
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        pytest.param("/refused", 425, "not_fenced", id="a problem that a route raises"),
        pytest.param("/number?value=none", 422, "invalid_request", id="a parameter of another type"),
        pytest.param("/number", 422, "invalid_request", id="a parameter that is missing"),
        pytest.param("/nowhere", 404, "not_found", id="a path that is not there"),
        pytest.param("/bug", 500, "internal", id="a bug of ours"),
        pytest.param("/away", 503, "unavailable", id="an API server that is away"),
        pytest.param("/no-right", 500, "internal", id="a right that the gateway lacks"),
    ],
)
async def test_every_error_is_a_problem_with_a_stable_code(path: str, status: int, code: str) -> None:
    response, body = await ask(path)
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail"} <= body.keys()


async def test_a_method_that_a_route_lacks_is_a_problem_that_names_the_allowed_ones() -> None:
    response, body = await ask("/number", "POST")
    assert (response.status_code, body["code"], response.headers["allow"]) == (405, "method_not_allowed", "GET")


async def test_a_validation_problem_names_the_parameter() -> None:
    _, body = await ask("/number?value=0")
    assert "query.value" in body["detail"]


async def test_a_bug_does_not_tell_its_text() -> None:
    _, body = await ask("/bug")
    assert "secret" not in str(body)


async def test_headers_of_a_problem_are_sent() -> None:
    response, body = await ask("/refused")
    assert response.headers["retry-after"] == "1"
    assert "error" not in body


async def test_a_final_problem_of_a_model_route_tells_openai_clients_not_to_retry() -> None:
    response, body = await ask("/openai/v1/limit")
    assert response.headers["x-should-retry"] == "false"
    assert body["error"] == {"message": "No tokens left.", "type": "Limit reached", "code": "token_limit"}


async def test_a_passing_problem_of_a_model_route_leaves_the_retry_to_the_client() -> None:
    response, _ = await ask("/openai/v1/busy")
    assert "x-should-retry" not in response.headers


async def test_a_problem_said_to_be_final_is_final_whatever_its_status() -> None:
    response, body = await ask("/openai/v1/final")
    assert response.headers["x-should-retry"] == "false"
    assert body["error"] == {"code": "mine"}

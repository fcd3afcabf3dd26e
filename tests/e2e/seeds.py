"""A program that uses the API as its users do, with rights in one namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2

from tests.e2e.faults import until
from tests.e2e.product import LONG_SECONDS, Json, Product

USER = "user"


class Api:
    """The HTTP API in one namespace."""

    def __init__(self, http: httpx2.Client, namespace: str) -> None:
        self.http = http
        self.namespace = namespace

    def send(self, method: str, path: str, status: int, body: Json | None = None, **query: Any) -> Any:
        """Send a request that must be answered with `status`; return the answer's JSON."""
        params = {"namespace": self.namespace, **query}
        answer = self.http.request(method, f"/api/v1/{path}", params=params, json=body)
        assert answer.status_code == status, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def get(self, path: str, **query: Any) -> Any:
        return self.send("GET", path, 200, **query)

    def act(self, method: str, path: str, body: Json | None = None) -> None:
        """Ask for something that may take a while."""
        answer = self.http.request(method, f"/api/v1/{path}", params={"namespace": self.namespace}, json=body)
        assert answer.status_code in {200, 202}, f"{method} {path}: {answer.status_code} {answer.text}"

    def create(self, **session: Any) -> Json:
        created: Json = self.send("POST", "agent-sessions", 201, session)
        return created

    def events(self, path: str, **query: Any) -> Iterator[tuple[str, str]]:
        """Yield name and data of each event of a stream, to its end."""
        with self.http.stream("GET", f"/api/v1/{path}", params={"namespace": self.namespace, **query}) as answer:
            assert answer.status_code == 200, answer.read()
            yield from to_events(answer)

    def await_session(self, name: str, holds: Callable[[Json], bool], what: str) -> Json:
        """Read a session until it is as wanted."""
        last: list[Json] = []

        def is_so() -> bool:
            last[:] = [self.get(f"agent-sessions/{name}")]
            return holds(last[0])

        until(is_so, f"session {name} is {what}")
        return last[0]

    def await_phase(self, name: str, phase: str) -> Json:
        return self.await_session(name, lambda session: session["phase"] == phase, phase)


def to_events(answer: httpx2.Response) -> Iterator[tuple[str, str]]:
    """Yield name and data of each server-sent event."""
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, value


@contextmanager
def a_user(product: Product, namespace: str) -> Iterator[Api]:
    """Connect as a service account that may edit in the namespace."""
    product.kubectl("create", "serviceaccount", USER, "-n", namespace)
    grant = ("--clusterrole=edit", f"--serviceaccount={namespace}:{USER}")
    product.kubectl("create", "rolebinding", USER, "-n", namespace, *grant)
    with connect(product, namespace) as api:
        until(lambda: api.http.get("/api/v1/agent-sessions", params={"namespace": namespace}).is_success, "known")
        yield api


@contextmanager
def connect(product: Product, namespace: str) -> Iterator[Api]:
    """Connect as the one of `a_user`; a connection ends with the gateway's pod that it leads to."""
    with product.gateway(product.token_of(namespace, USER)) as gateway:
        gateway.http.timeout = LONG_SECONDS
        yield Api(gateway.http, namespace)


def an_agent(**fields: object) -> list[dict[str, object]]:
    """Return the agents of a session that has one."""
    return [{"name": "agent", **fields}]

"""What the client asks, what it repeats, and what it makes of refusals and broken streams."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import orjson
import pytest

from agentsessions.engine.client import (
    TRIES,
    AlreadyExists,
    ApiError,
    Client,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Silent,
    Unreachable,
    WatchEvent,
    resource_path,
)
from agentsessions.engine.resources import CONFIG_MAP, NAMESPACE, NETWORK_POLICY, POD
from tests.unit.engine.conftest import Answer, ScriptedServer

BUSY = Answer(429, {"reason": "TooManyRequests"}, {"Retry-After": "0"})
DOWN = Answer(503, {"reason": "ServiceUnavailable"}, {"Retry-After": "0"})
DONE = Answer(200, {"kind": "ConfigMap"})
NAMED = {"metadata": {"name": "a"}}
GUARDED = {"metadata": {"resourceVersion": "7"}}

Call = Callable[[Client], Coroutine[Any, Any, Any]]


def get(client: Client) -> Coroutine[Any, Any, Any]:
    return client.get(resource_path(CONFIG_MAP, "ns", "a"))


def create(client: Client) -> Coroutine[Any, Any, Any]:
    return client.create(CONFIG_MAP, "ns", NAMED)


def create_with_generated_name(client: Client) -> Coroutine[Any, Any, Any]:
    return client.create(CONFIG_MAP, "ns", {"metadata": {"generateName": "a-"}})


def patch(client: Client) -> Coroutine[Any, Any, Any]:
    return client.merge_patch(CONFIG_MAP, "ns", "a", {})


def patch_guarded(client: Client) -> Coroutine[Any, Any, Any]:
    return client.merge_patch(CONFIG_MAP, "ns", "a", GUARDED)


def delete(client: Client) -> Coroutine[Any, Any, Any]:
    return client.delete(CONFIG_MAP, "ns", "a")


def delete_by_uid(client: Client) -> Coroutine[Any, Any, Any]:
    return client.delete(CONFIG_MAP, "ns", "a", uid="u")


@pytest.mark.parametrize("call", [get, create, patch, patch_guarded, delete, delete_by_uid])
async def test_a_request_refused_before_its_execution_is_sent_again(
    server: ScriptedServer, client: Client, call: Call
) -> None:
    server.plays(BUSY, BUSY, DONE)
    await call(client)
    assert len(server.requests) == 3


@pytest.mark.parametrize("call", [get, patch_guarded, delete_by_uid])
async def test_a_harmless_repetition_is_made_for_503_too(server: ScriptedServer, client: Client, call: Call) -> None:
    server.plays(DOWN, DONE)
    await call(client)
    assert len(server.requests) == 2


@pytest.mark.parametrize("call", [create, patch, delete])
async def test_a_write_that_may_have_happened_is_not_repeated(
    server: ScriptedServer, client: Client, call: Call
) -> None:
    server.plays(DOWN)
    with pytest.raises(ApiError) as caught:
        await call(client)
    assert caught.value.is_passing
    assert len(server.requests) == 1


async def test_a_create_with_a_generated_name_is_never_repeated(server: ScriptedServer, client: Client) -> None:
    server.plays(BUSY)
    with pytest.raises(ApiError):
        await create_with_generated_name(client)
    assert len(server.requests) == 1


async def test_repetition_is_bounded(server: ScriptedServer, client: Client) -> None:
    server.plays(BUSY)
    with pytest.raises(ApiError) as caught:
        await get(client)
    assert (caught.value.status, caught.value.retry_after) == (429, 0.0)
    assert len(server.requests) == TRIES


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "3600"}, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}])
async def test_a_refusal_without_a_short_wait_surfaces_at_once(
    server: ScriptedServer, client: Client, headers: dict[str, str]
) -> None:
    server.plays(Answer(429, {}, headers))
    with pytest.raises(ApiError):
        await get(client)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "reason", "kind", "is_passing"),
    [
        (400, "BadRequest", ApiError, False),
        (401, "Unauthorized", ApiError, False),
        (403, "Forbidden", Forbidden, False),
        (404, "NotFound", NotFound, False),
        (409, "Conflict", Conflict, False),
        (409, "AlreadyExists", AlreadyExists, False),
        (410, "Expired", Gone, False),
        (422, "Invalid", Invalid, False),
        (429, "TooManyRequests", ApiError, True),
        (500, "InternalError", ApiError, True),
        (504, "Timeout", ApiError, True),
    ],
)
async def test_a_refusal_has_its_type(
    server: ScriptedServer, client: Client, status: int, reason: str, kind: type[ApiError], is_passing: bool
) -> None:
    server.plays(Answer(status, {"reason": reason, "message": "because"}))
    with pytest.raises(ApiError) as caught:
        await get(client)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.reason, caught.value.is_passing) == (status, reason, is_passing)
    assert str(caught.value) == f"GET /api/v1/namespaces/ns/configmaps/a: because ({status} {reason})"


async def test_a_refusal_by_something_before_the_api_server_is_told_too(server: ScriptedServer, client: Client) -> None:
    server.plays(Answer(502, b"<html>bad gateway</html>"))
    with pytest.raises(ApiError, match="bad gateway"):
        await get(client)


async def test_a_redirect_is_not_followed(make_client: Callable[..., Client], server: ScriptedServer) -> None:
    server.plays(Answer(307, {}, {"Location": "http://127.0.0.1:9/"}))
    with pytest.raises(ApiError) as caught:
        await get(make_client(token="secret"))
    assert caught.value.status == 307


async def test_an_answer_that_is_not_json_counts_as_none(server: ScriptedServer, client: Client) -> None:
    server.plays(Answer(200, b"hello"))
    with pytest.raises(Unreachable, match="is not JSON") as caught:
        await get(client)
    assert caught.value.is_passing


async def test_no_server_is_a_passing_error(make_client: Callable[..., Client], server: ScriptedServer) -> None:
    server.url = "http://127.0.0.1:1"
    with pytest.raises(Unreachable) as caught:
        await get(make_client())
    assert caught.value.is_passing


async def test_a_delete_of_what_is_gone_is_fine(server: ScriptedServer, client: Client) -> None:
    server.plays(Answer(404, {"reason": "NotFound"}))
    await delete(client)


async def test_requests_carry_what_the_api_server_needs(
    server: ScriptedServer, make_client: Callable[..., Client]
) -> None:
    server.plays(DONE)
    client = make_client(token="t0ken")
    await client.merge_patch(CONFIG_MAP, "ns", "a", GUARDED, subresource="status")
    await client.delete(POD, "ns", "a", uid="u", grace_seconds=0)
    patched, deleted = server.requests
    assert patched.path_qs == "/api/v1/namespaces/ns/configmaps/a/status?fieldManager=tester"
    assert patched.headers["Authorization"] == "Bearer t0ken"
    assert patched.headers["Content-Type"] == "application/merge-patch+json"
    assert patched.headers["User-Agent"] == "tester"
    assert orjson.loads(server.bodies[0]) == GUARDED
    assert deleted.method == "DELETE"
    assert orjson.loads(server.bodies[1]) == {"preconditions": {"uid": "u"}, "gracePeriodSeconds": 0}


def page(version: str, *names: str, more: str | None = None) -> Answer:
    metadata = {"resourceVersion": version} | ({"continue": more} if more else {})
    return Answer(200, {"metadata": metadata, "items": [{"metadata": {"name": name}} for name in names]})


def name_of(found: dict[str, Any]) -> str:
    return str(found["metadata"]["name"])


async def test_a_list_is_asked_for_page_by_page(server: ScriptedServer, client: Client) -> None:
    server.plays(page("5", "a", "b", more="next+1"), page("5", "c"))
    listing = await client.list_all(POD, name_of, label_selector="a=b", metadata_only=True)
    assert (listing.items, listing.resource_version) == (["a", "b", "c"], "5")
    first, second = (request.query for request in server.requests)
    assert dict(first) == {"limit": "500", "labelSelector": "a=b"}
    assert dict(second) == {"limit": "500", "labelSelector": "a=b", "continue": "next+1"}
    assert (
        server.requests[0].headers["Accept"].startswith("application/json;as=PartialObjectMetadataList;g=meta.k8s.io")
    )


async def test_an_empty_list_may_be_null(server: ScriptedServer, client: Client) -> None:
    server.plays(Answer(200, {"metadata": {"resourceVersion": "5"}, "items": None}))
    assert (await client.list_all(POD, name_of)).items == []


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(Answer(410, {"reason": "Expired"}), id="the continue token expired"),
        pytest.param(page("6", "other"), id="the next page is of another state"),
    ],
)
async def test_a_list_that_expires_between_pages_begins_again(
    server: ScriptedServer, client: Client, second: Answer
) -> None:
    server.plays(page("5", "a", more="n"), second, page("7", "b"))
    listing = await client.list_all(POD, name_of)
    assert (listing.items, listing.resource_version) == (["b"], "7")


async def test_a_list_that_always_expires_is_at_last_asked_for_in_one_piece(
    server: ScriptedServer, client: Client
) -> None:
    expired = Answer(410, {"reason": "Expired"})
    server.plays(*(answer for _ in range(3) for answer in (page("5", "a", more="n"), expired)), page("8", "a", "b"))
    assert (await client.list_all(POD, name_of)).items == ["a", "b"]
    assert "limit" not in server.requests[-1].query


async def test_list_pages_tells_that_its_pages_are_void(server: ScriptedServer, client: Client) -> None:
    server.plays(page("5", "a", more="n"), Answer(410, {"reason": "Expired"}))
    with pytest.raises(Gone):
        [found async for found in client.list_pages(POD)]


def line(kind: str, **found: Any) -> bytes:
    return orjson.dumps({"type": kind, "object": found}) + b"\n"


async def watch(client: Client, into: list[WatchEvent]) -> None:
    async with aclosing(client.watch(POD, resource_version="5")) as events, asyncio.timeout(10):
        async for event in events:
            into.append(event)  # noqa: PERF401 - what came before an error counts


async def test_a_watch_gives_events_however_they_are_cut(server: ScriptedServer, client: Client) -> None:
    stream = line("ADDED", n=1) + line("MODIFIED", n=2, big="x" * 1_500_000) + line("BOOKMARK", n=3)
    server.plays(Answer(chunks=(stream[:10], stream[10:100_000], stream[100_000:])))
    found: list[WatchEvent] = []
    await watch(client, found)
    assert [(event.type, event.object["n"]) for event in found] == [("ADDED", 1), ("MODIFIED", 2), ("BOOKMARK", 3)]
    assert dict(server.requests[0].query) == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "5",
        "timeoutSeconds": "280",
    }


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(Answer(410, {"reason": "Expired"}), Gone, id="410 as the answer"),
        pytest.param(Answer(chunks=(line("ERROR", code=410, reason="Expired"),)), Gone, id="410 in the stream"),
        pytest.param(Answer(chunks=(line("ERROR", code=500),)), ApiError, id="another error in the stream"),
        pytest.param(Answer(403, {"reason": "Forbidden"}), Forbidden, id="a missing right"),
        pytest.param(Answer(chunks=(b'{"type":"ADDED","obj',)), Unreachable, id="half an event"),
        pytest.param(Answer(chunks=(b"<html>\n",)), Unreachable, id="no events at all"),
        pytest.param(Answer(chunks=(b"{}\n",), then="break"), Unreachable, id="an event without type"),
        pytest.param(Answer(then="break"), Unreachable, id="a broken connection"),
        pytest.param(Answer(then="hang"), Silent, id="silence"),
    ],
)
async def test_a_watch_that_ends_badly_says_how(
    server: ScriptedServer, make_client: Callable[..., Client], answer: Answer, kind: type[ApiError]
) -> None:
    server.plays(answer)
    with pytest.raises(ApiError) as caught:
        await watch(make_client(silence_seconds=0.1), [])
    assert type(caught.value) is kind


async def test_requests_are_bounded_and_watches_are_not_among_them(
    server: ScriptedServer, make_client: Callable[..., Client]
) -> None:
    server.plays(Answer(then="hang"), Answer(then="hang"), DONE)
    client = make_client(max_connections=1)
    watching = asyncio.create_task(watch(client, []))
    await server.signal.until(lambda: len(server.requests) == 1)
    first = asyncio.create_task(get(client))
    await server.signal.until(lambda: len(server.requests) == 2)
    second = asyncio.create_task(get(client))
    with pytest.raises(TimeoutError):  # the only connection is in use
        await asyncio.wait_for(asyncio.shield(second), 0.05)
    assert len(server.requests) == 2
    first.cancel()
    assert await second == {"kind": "ConfigMap"}
    watching.cancel()
    await asyncio.gather(watching, first, return_exceptions=True)


def test_paths_are_those_of_the_api_server() -> None:
    assert resource_path(POD, "ns", "a") == "/api/v1/namespaces/ns/pods/a"
    assert resource_path(NAMESPACE, None, "ns") == "/api/v1/namespaces/ns"
    policy = resource_path(NETWORK_POLICY, "ns", "a", subresource="status")
    assert policy == "/apis/networking.k8s.io/v1/namespaces/ns/networkpolicies/a/status"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb", "a?b", "a#b", "a b", "ä", "a\n"])
def test_a_name_that_leads_to_another_path_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        resource_path(POD, "ns", name)
    with pytest.raises(Invalid):
        resource_path(POD, name or "..", "a")


def test_a_namespace_is_given_where_there_is_one_and_only_there() -> None:
    with pytest.raises(ValueError, match="none was given"):
        resource_path(POD, None, "a")
    with pytest.raises(ValueError, match="has no namespaces"):
        resource_path(NAMESPACE, "ns", "a")

"""The tool Http against a real web server: where it goes, and what it takes along."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import pytest
from aiohttp import web

from agentsessions.api import wire
from agentsessions.api.kinds import Rules, ToolClass
from agentsessions.api.v1alpha1.agent import AgentTool
from agentsessions.gateway.proxy.http_tool import HttpTool, effect_of
from agentsessions.gateway.proxy.offers import CallContext, ToolResult
from agentsessions.journal.rows import PodIdentity

pytestmark = pytest.mark.requirement("AG-2")

CONTEXT = CallContext(PodIdentity("uid", "team", "s", "agent", 1, "pod", is_current=True), "call-1")
LOOPBACK = (ip_network("127.0.0.0/8"),)


@dataclass
class Site:
    """A web server, and what it was sent."""

    port: int = 0
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path, request.headers.get("X-Key")))
        match request.path:
            case "/away":
                return web.Response(status=302, headers={"Location": f"http://localhost:{self.port}/there"})
            case "/inside":
                return web.Response(status=302, headers={"Location": "http://169.254.169.254/latest/meta-data"})
            case "/round":
                return web.Response(status=302, headers={"Location": "/round"})
            case "/long":
                return web.Response(text="x" * 2_000_000)
            case "/bytes":
                return web.Response(body=b"\xff\xfe\x00", content_type="image/png")
            case _:
                return web.Response(text=f"{request.method} {await request.text()}")


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site, app = Site(), web.Application()
    app.router.add_route("*", "/{path:.*}", site.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    site.port = runner.addresses[0][1]
    yield site
    await runner.cleanup()


async def ask(
    hosts: list[str], *, bounds: tuple[str, ...] = ("*",), methods: list[str] | None = None, **arguments: Any
) -> ToolResult:
    """Send one request as an agent that may ask these hosts."""
    http = HttpTool(LOOPBACK, bounds)
    try:
        tool = AgentTool.model_validate({"builtin": "Http", "allowHosts": hosts, "allowMethods": methods})
        run = http.offer(tool, Rules()).run
        assert run is not None
        return await run(CONTEXT, arguments)
    finally:
        await http.close()


async def test_request_goes_to_a_listed_host_with_its_body_and_headers(site: Site) -> None:
    url = f"http://{site.host}/a"
    result = await ask([site.host], methods=["POST"], url=url, method="POST", headers={"X-Key": "k"}, body="part=1")

    assert result == ToolResult("HTTP 200\ncontent-type: text/plain; charset=utf-8\n\nPOST part=1")
    assert site.asked == [("POST", "/a", "k")]


@pytest.mark.requirement("POL-1")
async def test_redirect_to_another_host_is_shown_and_not_followed_though_it_is_listed(site: Site) -> None:
    hosts = [site.host, f"localhost:{site.port}"]
    result = await ask(hosts, url=f"http://{site.host}/away", headers={"X-Key": "k"})

    assert result.output.startswith("HTTP 302")
    assert f"location: http://localhost:{site.port}/there" in result.output
    assert site.asked == [("GET", "/away", "k")]


async def test_redirects_on_one_host_are_followed_for_a_while(site: Site) -> None:
    result = await ask([site.host], url=f"http://{site.host}/round")

    assert result.is_error
    assert result.output.startswith("[not_allowed] more than 5 redirects")
    assert len(site.asked) == 6


async def test_redirect_to_what_only_the_cluster_reaches_is_not_followed(site: Site) -> None:
    result = await ask([site.host, "169.254.169.254"], url=f"http://{site.host}/inside")

    assert result.output.startswith("HTTP 302")
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("hosts", "bounds", "url", "said"),
    [
        pytest.param(["a.example"], ("b.example",), "https://a.example/", "the administrator", id="out of bounds"),
        pytest.param(["*.example.com"], ("*",), "https://example.com/", "not among", id="not below"),
        pytest.param(["*.example.com"], ("*",), "https://evilexample.com/", "not among", id="beside"),
        pytest.param(["a.example"], ("*",), "https://a.example:8443/", "not among", id="another port"),
        pytest.param(["a.example"], ("*",), "gopher://a.example/", "no http or https", id="another protocol"),
        pytest.param(["10.0.0.1"], ("*",), "http://10.0.0.1/", "[address_refused]", id="a private address"),
    ],
)
async def test_request_is_refused(hosts: list[str], bounds: tuple[str, ...], url: str, said: str) -> None:
    result = await ask(hosts, bounds=bounds, url=url)

    assert result.is_error
    assert said in result.output


async def test_answers_that_are_long_or_no_text_are_told_as_that(site: Site) -> None:
    long = await ask([site.host], url=f"http://{site.host}/long")
    image = await ask([site.host], url=f"http://{site.host}/bytes")

    assert "more than 1048576 bytes" in long.output
    assert image.output == "HTTP 200\ncontent-type: image/png\n\n[3 bytes that are no text; not shown]"


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "X\r\nEvil", "X-\u00e4"])
async def test_header_that_says_where_a_request_goes_or_ends_is_refused(site: Site, name: str) -> None:
    result = await ask([site.host], url=f"http://{site.host}/", headers={name: "a"})

    assert result.output.startswith("[not_allowed] header")
    assert site.asked == []


async def test_session_that_may_only_read_is_offered_reading() -> None:
    http = HttpTool((), ("*",))
    tool = AgentTool.model_validate({"builtin": "Http", "allowHosts": ["a.example"], "allowMethods": ["GET", "POST"]})
    whole, part = http.offer(tool, Rules()), http.offer(tool, Rules(frozenset({ToolClass.READ})))
    await http.close()

    assert whole.tool_class is ToolClass.EXTERNAL
    assert part.tool_class is ToolClass.READ
    assert part.offer.parameters["properties"]["method"]["enum"] == ["GET"]
    assert effect_of({"url": "a"}) is wire.SideEffect.NONE
    assert effect_of({"url": "a", "method": "DELETE"}) is wire.SideEffect.EXTERNAL

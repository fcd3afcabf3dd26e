"""The tool Http: asks web servers of hosts that the session's author listed, through the gateway alone.

Each address is checked where it is dialled, after its name was resolved. A redirect on the same host is checked as a
request of its own; one to another host is shown and not followed, as policies judged a call of the first. A GET changes
nothing by HTTP's rules (RFC 9110, 9.2.1), so it may be repeated after a crash; all other methods act outside of the
session.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urljoin

import httpx2

from agentsessions.api import wire
from agentsessions.api.kinds import Rules, ToolClass
from agentsessions.api.v1alpha1.agent import AgentTool, HttpMethod
from agentsessions.gateway.proxy.faults import ModelFault
from agentsessions.gateway.proxy.guard import GuardedBackend, Network
from agentsessions.gateway.proxy.offers import CallContext, Offered, ToolResult
from agentsessions.gateway.proxy.transport import CappedStream, GuardedTransport

NAME: Final = "http"
SAFE: Final = (HttpMethod.GET, HttpMethod.HEAD)
SECONDS: Final = 60.0
TIMEOUT: Final = httpx2.Timeout(connect=10.0, write=30.0, read=30.0, pool=30.0)
MAX_ANSWER_BYTES: Final = 1024 * 1024
MAX_SHOWN_BYTES: Final = 60_000
MAX_BODY_CHARACTERS: Final = 131_072
MAX_URL_CHARACTERS: Final = 4096
MAX_REDIRECTS: Final = 5
OWN_HEADERS: Final = frozenset({
    "host", "accept-encoding", "connection", "content-length", "expect", "te", "trailer", "transfer-encoding",
    "upgrade", "proxy-authorization", "proxy-connection",
})  # fmt: skip
"""Headers that say where a request goes and where it ends."""
SHOWN_HEADERS: Final = ("content-type", "location", "retry-after", "etag", "last-modified")
DEFAULT_PORTS: Final = {"https": 443, "http": 80}
ANY_HOST: Final = "*"


class HttpTool:
    """Asks web servers for all sessions."""

    def __init__(self, networks: Sequence[Network], bounds: Sequence[str]) -> None:
        """Dial public addresses and `networks`, of hosts within the administrator's `bounds`."""
        self._bounds = tuple(bounds)
        backend = GuardedBackend(networks, what="The url")
        # Redirects are followed here, not by the client: each is checked like the first request.
        self._client = httpx2.AsyncClient(
            transport=GuardedTransport(backend), timeout=TIMEOUT, trust_env=False, follow_redirects=False
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    def offer(self, tool: AgentTool, rules: Rules) -> Offered:
        """Return the tool as an agent is offered it; where nothing may act outside, it only reads."""
        methods = [method.value for method in tool.allow_methods or SAFE]
        is_bound = ToolClass.EXTERNAL not in rules.classes
        if is_bound:
            methods = [method for method in methods if method in SAFE]
        hosts = tuple(tool.allow_hosts or ())

        async def run(context: CallContext, arguments: dict[str, Any]) -> ToolResult:
            del context
            return await self._run(hosts, arguments)

        acts = any(method not in SAFE for method in methods)
        return Offered(
            wire.ToolOffer(
                name=NAME,
                description=f"Send one HTTP request; returns status and text. Hosts allowed: {', '.join(hosts)}.",
                parameters=_parameters(methods),
                side_effect=wire.SideEffect.EXTERNAL if acts else wire.SideEffect.NONE,
            ),
            ToolClass.READ if methods and not acts else ToolClass.EXTERNAL,
            run,
            effect_of,
            lambda arguments: host_in(str(arguments.get("url", ""))),
        )

    async def _run(self, hosts: Sequence[str], arguments: Mapping[str, Any]) -> ToolResult:
        method, url = arguments.get("method", "GET"), arguments["url"]
        body = arguments.get("body")
        try:
            async with asyncio.timeout(SECONDS):
                return await self._ask(hosts, method, url, _headers(arguments.get("headers") or {}), body)
        except ModelFault as fault:
            return ToolResult(f"[address_refused] {fault.message}", is_error=True)
        except TimeoutError:
            return ToolResult(f"[no_answer] no whole answer within {SECONDS:.0f} s", is_error=True)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            return ToolResult(f"[no_answer] {type(error).__name__}: {error}", is_error=True)
        except _RefusedError as refused:
            return ToolResult(f"[not_allowed] {refused}", is_error=True)

    async def _ask(
        self, hosts: Sequence[str], method: str, url: str, headers: dict[str, str], body: str | None
    ) -> ToolResult:
        first, host = _origin(url), host_in(url)
        for _ in range(MAX_REDIRECTS + 1):
            self._check(url, hosts)
            sent = headers if _origin(url) == first else {}  # what was meant for one host is not told another
            request = self._client.build_request(
                method, url, headers=sent, content=body.encode() if body is not None else None
            )
            request.headers["Accept-Encoding"] = "identity"
            response = await self._client.send(request, stream=True)
            try:
                to = urljoin(url, response.headers["location"]) if response.has_redirect_location else url
                if not response.has_redirect_location or method not in SAFE or host_in(to) != host:
                    return ToolResult(await _to_text(response))
                url = to
            finally:
                await response.aclose()
        raise _RefusedError(f"more than {MAX_REDIRECTS} redirects, the last to {url[:200]}")

    def _check(self, url: str, hosts: Sequence[str]) -> None:
        """Refuse a URL of another host than those allowed."""
        parsed = httpx2.URL(url)
        if parsed.scheme not in DEFAULT_PORTS or not parsed.host:
            raise _RefusedError(f"{url[:200]!r} is no http or https URL with a host")
        if parsed.userinfo:
            raise _RefusedError("the url holds a user or password; use a header")
        port = parsed.port or DEFAULT_PORTS[parsed.scheme]
        where = host_in(url)
        if not any(_fits(pattern, where, port, parsed.scheme) for pattern in hosts):
            raise _RefusedError(f"host {where}:{port} is not among {', '.join(hosts)}")
        if not any(_fits(pattern, where, port, parsed.scheme) for pattern in self._bounds):
            raise _RefusedError(f"the administrator does not allow host {where}:{port}")


class _RefusedError(Exception):
    """A request that is not made; the text is for the model."""


def effect_of(arguments: Mapping[str, Any]) -> wire.SideEffect:
    """Return how far a request's effect reaches."""
    return wire.SideEffect.NONE if arguments.get("method", "GET") in SAFE else wire.SideEffect.EXTERNAL


def host_in(url: str) -> str:
    """Return the host of a URL, without its port; empty when it has none."""
    try:
        return httpx2.URL(url).host.lower().rstrip(".")
    except httpx2.InvalidURL:
        return ""


def _fits(pattern: str, host: str, port: int, scheme: str) -> bool:
    name, colon, wanted = pattern.partition(":")
    if pattern == ANY_HOST:
        return True
    if port != (int(wanted) if colon else DEFAULT_PORTS[scheme]):
        return False
    return host.endswith(name[1:]) and host != name[2:] if name.startswith("*.") else host == name


def _origin(url: str) -> tuple[str, str, int | None]:
    parsed = httpx2.URL(url)
    return parsed.scheme, parsed.host, parsed.port


def _headers(wanted: Mapping[str, str]) -> dict[str, str]:
    for name, value in wanted.items():
        if name.lower() in OWN_HEADERS or not name.isascii() or not (name + value).isprintable():
            raise _RefusedError(f"header {name[:64]!r} cannot be set")
    return dict(wanted)


async def _to_text(response: httpx2.Response) -> str:
    """Return an answer as the model reads it."""
    shown = [f"{name}: {response.headers[name]}" for name in SHOWN_HEADERS if name in response.headers]
    head = "\n".join([f"HTTP {response.status_code}", *shown])
    if response.headers.get("content-encoding", "identity") != "identity":
        return f"{head}\n\n[the body is compressed, which was not asked for; not shown]"
    assert isinstance(response.stream, httpx2.AsyncByteStream)  # noqa: S101 - async clients have no other
    response.stream = CappedStream(response.stream, MAX_ANSWER_BYTES)
    content = await response.aread()
    try:
        text = content.decode(response.encoding or "utf-8", "strict")
    except (UnicodeDecodeError, LookupError):
        return f"{head}\n\n[{len(content)} bytes that are no text; not shown]"
    if len(content) > MAX_SHOWN_BYTES:
        text = f"{text[:MAX_SHOWN_BYTES]}\n[... {len(content)} bytes in all, the first {MAX_SHOWN_BYTES} are shown]"
    return f"{head}\n\n{text}"


def _parameters(methods: Sequence[str]) -> dict[str, Any]:
    """Return the JSON schema of the arguments."""
    properties: dict[str, Any] = {
        "url": {"type": "string", "maxLength": MAX_URL_CHARACTERS, "description": "http or https, with the host."},
        "method": {"type": "string", "enum": list(methods), "description": "GET by default."},
        "headers": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 4096}},
    }
    if any(method not in SAFE for method in methods):
        properties["body"] = {"type": "string", "maxLength": MAX_BODY_CHARACTERS}
    return {"type": "object", "properties": properties, "required": ["url"], "additionalProperties": False}

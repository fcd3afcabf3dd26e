"""Probes and metrics, on plain HTTP inside the cluster."""

from collections.abc import Callable, Mapping

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Probes:
    """Serves `/healthz` (is it stuck), `/readyz` (does it act, or could it) and `/metrics`."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        health: Callable[[], Mapping[str, str]],
        readiness: Callable[[], Mapping[str, str]],
        role: Callable[[], str],
    ) -> None:
        """Take two functions that return problems by subject, none means well; and one that says what we do."""
        self._registry = registry
        self._health = health
        self._readiness = readiness
        self._role = role
        self._runner: web.AppRunner | None = None
        self.port = 0
        """Port that is listened on, once started."""

    async def start(self, host: str, port: int) -> None:
        """Listen. An empty host means each address; port 0 a free one."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._serve_health),
                web.get("/readyz", self._serve_readiness),
                web.get("/metrics", self._serve_metrics),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host or None, port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _serve_health(self, _request: web.Request) -> web.Response:
        return to_answer(self._health(), self._role())

    async def _serve_readiness(self, _request: web.Request) -> web.Response:
        return to_answer(self._readiness(), self._role())

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def to_answer(problems: Mapping[str, str], role: str) -> web.Response:
    """Return 200 without problems, else 503 that names them; both say what the process does."""
    status = web.HTTPServiceUnavailable.status_code if problems else web.HTTPOk.status_code
    return web.json_response({"role": role, "problems": dict(problems)}, status=status)

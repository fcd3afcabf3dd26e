"""The gateway's process: opens the parts in order, serves until it is told to stop, closes them in reverse.

On SIGTERM nothing new is sold, live streams end (their clients come back with their last id), and purchases under
way are finished and journaled, for up to `drain_seconds`: an answer that was paid for is not thrown away.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from agentsessions.engine.callers import Callers
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import CredentialsError, load_access
from agentsessions.engine.errors import ApiError
from agentsessions.gateway.app import create_app, create_health_app
from agentsessions.gateway.auth import Auth
from agentsessions.gateway.logs import configure_logs
from agentsessions.gateway.manifests import FIELD_MANAGER
from agentsessions.gateway.own_ids import OwnIds
from agentsessions.gateway.proxy.state import open_proxy
from agentsessions.gateway.rates import Rates
from agentsessions.gateway.replicas import Replicas
from agentsessions.gateway.retention import Retention
from agentsessions.gateway.server import create_server
from agentsessions.gateway.settings import Settings
from agentsessions.gateway.state import Gateway
from agentsessions.gateway.streams import Changes
from agentsessions.gateway.tls import Certificates
from agentsessions.gateway.watch import SessionWatch
from agentsessions.gateway.webhooks.service import Webhooks
from agentsessions.journal.refusals import ForeignJournal, StoreUnavailable
from agentsessions.journal.store import Store, utc_now

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Run the gateway until SIGTERM or SIGINT; exit 1 when it cannot start or one of its parts fails."""
    configure_logs(settings.log_level)
    try:
        asyncio.run(run(settings))
    except (CredentialsError, ApiError, StoreUnavailable, ForeignJournal) as error:
        log.error("gateway cannot start", error=str(error), cause=str(error.__cause__))  # noqa: TRY400 - it says all
        sys.exit(1)
    except BaseExceptionGroup as group:
        log.critical("gateway failed", exc_info=group)
        sys.exit(1)


async def run(settings: Settings) -> None:
    """Serve until the process is told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with open_gateway(settings) as gateway:
        certificates = Certificates(gateway.client, settings.namespace, utc_now)
        await certificates.ensure()
        api = create_server(create_app(gateway), settings.host, settings.port, certificates.context)
        health = create_server(create_health_app(gateway), settings.host, settings.health_port)
        # A part that fails takes the others with it: better a new process than half of one.
        async with asyncio.TaskGroup() as tasks:
            watching = (gateway.changes.run(), gateway.watch.run(), gateway.proxy.watch())
            keeping = (certificates.keep(), Replicas(gateway.store).run(), keep_short(gateway))
            webhooks = Webhooks(gateway.client, gateway.store, settings.allowed_webhook_networks)
            endless = [tasks.create_task(part) for part in (*watching, *keeping, webhooks.run())]
            tasks.create_task(health.serve())
            serving = tasks.create_task(api.serve())
            log.info("gateway started", port=settings.port, health_port=settings.health_port)
            await stop.wait()
            await drain(gateway)
            api.should_exit = True
            await serving
            health.should_exit = True
            for task in endless:
                task.cancel()


async def keep_short(gateway: Gateway) -> None:
    """Remove what is too old from the journal, once it is known what namespaces want kept."""
    await gateway.watch.is_ready.wait()
    await Retention(gateway.store, gateway.watch.retentions, gateway.settings.journal_retention, utc_now).run()


async def drain(gateway: Gateway) -> None:
    """End live streams, sell nothing new, and finish what is being bought. Commits are taken meanwhile."""
    log.info("gateway stopping", drain_seconds=gateway.settings.drain_seconds)
    gateway.changes.stop()
    left = await gateway.proxy.drain(gateway.settings.drain_seconds)
    if left:
        log.warning("purchases broken off", purchases=left)


async def leave(store: Store) -> None:
    """Tell the other gateways that this one ends; without it they find out themselves, later."""
    try:
        await Replicas(store).leave()
    except StoreUnavailable as error:
        log.warning("other gateways not told of the end", error=str(error))


@asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Open all parts in order, and close them in reverse. The watch is the caller's to run."""
    async with AsyncExitStack() as opened:
        if settings.traces:
            from agentsessions.gateway import otel  # noqa: PLC0415 - costs time and memory, which others keep

            traces = otel.start(captures_content=settings.trace_content)
            opened.push_async_callback(asyncio.to_thread, traces.close)
        access = load_access(settings.kubeconfig)
        client = Client(access, field_manager=FIELD_MANAGER)
        opened.push_async_callback(client.close)
        callers = Callers(access, field_manager=FIELD_MANAGER)
        opened.push_async_callback(callers.close)
        store = await Store.open(settings.database_url, clock=utc_now, instance=settings.instance)
        opened.push_async_callback(store.close)
        await store.recover()
        opened.push_async_callback(leave, store)
        watch = SessionWatch(client, store, utc_now)
        gateway = Gateway(
            settings=settings,
            store=store,
            client=client,
            auth=Auth(client, namespace=settings.namespace),
            watch=watch,
            changes=Changes(store),
            callers=callers,
            own_ids=OwnIds(watch),
            rates=Rates.of(settings),
        )
        gateway.proxy = await open_proxy(gateway)
        opened.push_async_callback(gateway.proxy.close)
        yield gateway

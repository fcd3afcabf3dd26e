"""Console entry of the operator."""

import asyncio
import logging
import sys
from typing import Final

import kopf
import structlog

from agentsessions.api import names
from agentsessions.controller.app import Operator
from agentsessions.controller.leadership import build_leadership
from agentsessions.controller.settings import Settings, SettingsError, read_settings
from agentsessions.controller.shell import build_registry, build_settings
from agentsessions.engine.client import Client
from agentsessions.engine.credentials import CredentialsError, load_access

DEEPEST_JSON: Final = 25_000
"""Recursion that kopf's JSON decoder needs for any object that the API server takes: 10,000 levels (managed fields are
as deep). It is C code on the main thread, whose stack of 8 MiB holds more than twice that. Without it one session
with a deep `spec.context.json` ends the operator for everybody."""

LEASE_CONNECTIONS: Final = 2


def main() -> None:
    """Run the operator until it is told to stop."""
    sys.setrecursionlimit(DEEPEST_JSON)
    try:
        settings = read_settings()
        configure_logs(settings.log_level)
        is_sound = asyncio.run(run(settings))
    except (SettingsError, CredentialsError) as error:
        sys.exit(str(error))
    sys.exit(0 if is_sound else 1)


async def run(settings: Settings) -> bool:
    """Run kopf and our parts; tell whether they ended because they were asked to."""
    access = load_access(settings.kubeconfig)
    broken = asyncio.Event()
    async with (
        Client(access, field_manager=names.MANAGER, max_connections=settings.workers) as client,
        # A renewal must not wait behind the workers' requests.
        Client(access, field_manager=names.MANAGER, max_connections=LEASE_CONNECTIONS) as lease_client,
    ):
        leadership = build_leadership(settings, lease_client) if settings.leader_election else None
        operator = Operator(settings, client, leadership=leadership)
        await kopf.operator(
            registry=build_registry(operator, access, broken),
            settings=build_settings(),
            # By default kopf asks for a user name, which the image's uid does not have; its str type is not exported.
            identity=names.MANAGER,  # type: ignore[arg-type]
            standalone=True,
            clusterwide=True,
            stop_flag=broken,
        )
    return not operator.is_broken


def configure_logs(level: str) -> None:
    """Write one JSON object a line to standard output, kopf's own words too."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]))

"""Logs as one JSON object a line, those of libraries too."""

import logging
from typing import Final

import orjson
import structlog

QUIET: Final = ("uvicorn.access", "uvicorn.error", "httpx2", "httpcore2", "alembic")
"""Loggers that say too much below a warning."""


def configure_logs(level: str) -> None:
    """Log from `level` up to standard error.

    Args:
        level: debug, info, warning or error.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(serializer=_to_json),
        ],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _to_json(event: object, default: object = None, **_: object) -> str:
    del default
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()

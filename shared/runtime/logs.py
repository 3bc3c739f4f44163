"""Structured JSON logs on stdout: ours (structlog) and the libraries' (stdlib), one shape, one redaction."""

import logging
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any, TextIO

import orjson
import structlog
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import FilteringBoundLogger, Processor

from shared.runtime.redaction import redact, redact_value, redacting

__all__ = ["bound", "configure_logging", "get_logger", "redact", "redacting"]

_QUIET = {
    "aio_pika": logging.WARNING,
    "aio_pika.tools": logging.CRITICAL,  # a traceback per channel at every lost connection
    "aiormq": logging.ERROR,
    "asyncio": logging.WARNING,
    "asyncpg": logging.CRITICAL,  # a traceback at every attempt to reconnect
    "faststream": logging.WARNING,
    "httpcore2": logging.WARNING,
    "httpx2": logging.WARNING,
    "openai": logging.WARNING,
    "opentelemetry": logging.ERROR,  # a line at every try of a collector that is away
    "urllib3": logging.WARNING,
    "uvicorn": logging.WARNING,
}


def configure_logging(service: str, level: str = "INFO", *, to: TextIO | None = None) -> None:
    """Send every log record of this process to stdout (or `to`) as one JSON line that names `service`."""
    stream = to or sys.stdout
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _name_service(service),
        _redact_event,
    ]
    render = structlog.processors.JSONRenderer(serializer=_dumps)
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _route_stdlib(shared, render, level, stream)


def get_logger() -> FilteringBoundLogger:
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def bound(**context: object) -> AbstractContextManager[None]:
    """Bind context (run_id, user_id, key_source, …) to every log line of this task."""
    return bound_contextvars(**{name: str(value) for name, value in context.items() if value is not None})


def _route_stdlib(shared: list[Processor], render: Processor, level: str, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, quiet in _QUIET.items():
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(quiet)


def _name_service(service: str) -> Processor:
    def name_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return name_service


def _redact_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own bookkeeping
            event[name] = redact_value(value, name)
    return event


def _dumps(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=repr).decode()

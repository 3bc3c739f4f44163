"""Logging as a service does, into memory."""

import io
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from shared.runtime.logs import configure_logging


class Log(io.StringIO):
    """What was written."""

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.getvalue().splitlines()]


@contextmanager
def logging_as(service: str) -> Iterator[Log]:
    """Everything that this process logs meanwhile, ours and the libraries'."""
    root = logging.getLogger()
    handlers, level, log = root.handlers[:], root.level, Log()
    configure_logging(service, to=log)
    try:
        yield log
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()

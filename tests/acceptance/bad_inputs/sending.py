"""A case becomes bytes on a socket of its own: no client of ours stands in the way of what is wrong in it."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from tests.acceptance.bad_inputs.case import Case

_NAME: Final = re.compile(rb"<(\w+)>")
_PATIENCE_S: Final = 20


@dataclass(frozen=True)
class Answer:
    """`text`: all that came, head included. `headers`: names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def send(url: str, case: Case, values: Mapping[str, str]) -> Answer:
    """Send a case with its names filled in; read until the edge hangs up."""
    sent = _filled(case.raw, values) if case.raw is not None else _written(case, values)
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(sent)
        async with asyncio.timeout(_PATIENCE_S):
            return _read(await reader.read())
    finally:
        writer.transport.abort()


def _filled(text: bytes, values: Mapping[str, str]) -> bytes:
    return _NAME.sub(lambda found: values.get(found[1].decode(), found[0].decode()).encode(), text)


def _written(case: Case, values: Mapping[str, str]) -> bytes:
    body, own = _filled(case.body, values), {name.lower() for name, _ in case.headers}
    usual = (
        (b"Host", b"edge"),
        (b"Connection", b"close"),
        (b"Content-Type", b"application/json"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Authorization", b"Bearer <%s>" % case.who.encode()),
        # Not looked at by a run at another provider, nor by anything else; so never told, either.
        (b"X-Groq-Key", b"<canary>"),
    )
    headers = [*((name, value) for name, value in usual if name.lower() not in own), *case.headers]
    lines = [f"{case.call} HTTP/1.1".encode(), *(b"%s: %s" % header for header in headers)]
    return _filled(b"\r\n".join(lines), values) + b"\r\n\r\n" + body


def _read(came: bytes) -> Answer:
    head, _, body = came.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answer(int(status.split(" ")[1]), headers, body, came.decode("utf-8", "replace"))

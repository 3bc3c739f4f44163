"""A provider that does what prompts say: `whole 9`, `pieces 9`, `piece 9` or `values 9` (MiB), `slow 20`."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

MIB: Final = 1024 * 1024
_PIECE_S: Final = 0.05
_STALL_S: Final = 5.0
_HEAD: Final = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: %s\r\n\r\n"


def backslashes(size: int) -> str:
    """Text that takes `size` bytes as the JSON of an answer, and twice as much in a message."""
    return "\\" * (size // 2)


@asynccontextmanager
async def long_winded() -> AsyncIterator[str]:
    """Yields its address."""
    async with await asyncio.start_server(_serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}"


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    kind, _, size = (await _prompt(reader)).partition(" ")
    try:
        if kind in _WHOLE:
            writer.write(_HEAD % b"application/json" + _WHOLE[kind](int(size) * MIB))
            await writer.drain()
            await asyncio.sleep(_STALL_S if kind == "stalling" else 0)
        else:
            await _stream(writer, kind, int(size))
        await writer.drain()
    except ConnectionError:  # the worker has heard enough
        pass
    finally:
        writer.close()


async def _stream(writer: asyncio.StreamWriter, kind: str, size: int) -> None:
    writer.write(_HEAD % b"text/event-stream")
    if kind == "piece":
        writer.write(_chunk({"content": "a" * size * MIB}))
        size = 0
    for _ in range(size):
        writer.write(_chunk({"content": backslashes(MIB) if kind == "pieces" else "word "}))
        await writer.drain()
        await asyncio.sleep(0 if kind == "pieces" else _PIECE_S)
    writer.write(_chunk({}, "stop") + b"data: [DONE]\n\n")


async def _prompt(reader: asyncio.StreamReader) -> str:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    [length] = [line for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
    body = json.loads(await reader.readexactly(int(length.partition(b":")[2])))
    prompt: str = body["messages"][-1]["content"]
    return prompt


def _whole(size: int) -> bytes:
    said = {"role": "assistant", "content": backslashes(size)}
    return json.dumps({"choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}).encode()


def _values(size: int) -> bytes:
    return b'{"choices":[],"values":[' + b"[]," * (size // 3) + b"[]]}"


_WHOLE: Final[dict[str, Callable[[int], bytes]]] = {
    "whole": _whole,
    "values": _values,
    "stalling": lambda size: _whole(size)[:-1],
}


def _chunk(delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"

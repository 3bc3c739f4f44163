"""Many streams that are open at once, and what they take."""

import asyncio
import time
from pathlib import Path

import orjson

from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import House


async def read_stream(caller: Caller, prompt: str, opened: asyncio.Semaphore, after_s: float) -> bool:
    """Read a long answer, telling `opened` when it has begun; say whether it came whole.

    By hand: a thousand of a real client's would take more of the machine than the house does.
    """
    await asyncio.sleep(after_s)
    url = caller.http.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(_request(caller, prompt))
        begun = await reader.readline()
        opened.release()
        rest = await reader.read()
        return b" 200 " in begun and b"data: [DONE]" in rest[-64:]
    finally:
        writer.close()


def _request(caller: Caller, prompt: str) -> bytes:
    body = orjson.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": prompt}]})
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: edge\r\nAuthorization: Bearer {caller.token}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def first_token_ms(caller: Caller) -> float:
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "quickly"}]}
    began = time.perf_counter()
    async with caller.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        pieces = aiter(answer.aiter_raw())
        await anext(pieces)
        took = time.perf_counter() - began
        async for _ in pieces:
            pass
    return took * 1000


def resident_mb(house: House) -> dict[str, float]:
    return {name: _rss_mb(part.pid) for name, part in house.parts.items() if name != "simulator"}


def _rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (kb,) = (line.split()[1] for line in lines if line.startswith("VmRSS:"))
    return int(kb) / 1024

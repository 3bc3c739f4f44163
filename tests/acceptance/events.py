"""Reading a run's server-sent events, and hanging up in the middle of them."""

from collections.abc import AsyncIterator

import httpx2

from tests.acceptance.callers import MODEL, Caller


async def start(caller: Caller, prompt: str, **body: object) -> str:
    """Start a kept run; return its id."""
    given = {"kind": "stream", "model": MODEL, "messages": [{"role": "user", "content": prompt}], **body}
    answer = await caller.http.post("/api/runs", json=given)
    return str(answer.raise_for_status().json()["run_id"])


async def blocks(caller: Caller, path: str, after: str | None = None) -> AsyncIterator[bytes]:
    """Yield event after event, as it stands on the wire; comments are left out."""
    headers = {} if after is None else {"Last-Event-ID": after}
    async with caller.http.stream("GET", path, headers=headers) as answer:
        answer.raise_for_status()
        rest = b""
        async for data in answer.aiter_raw():
            *whole, rest = (rest + data).split(b"\n\n")
            for block in whole:
                if not block.startswith(b":"):
                    yield block


async def some(caller: Caller, run_id: str, after: str | None, count: int | None) -> list[bytes]:
    """Read so many events of a run and hang up; all of them for None."""
    return await some_at(caller, f"/api/runs/{run_id}/events", after, count)


async def some_at(caller: Caller, path: str, after: str | None, count: int | None) -> list[bytes]:
    """As `some`, of whatever has its events there."""
    found: list[bytes] = []
    reading = blocks(caller, path, after)
    try:
        while count is None or len(found) < count:
            if (block := await anext(reading, None)) is None:
                break
            found.append(block)
    except httpx2.TransportError:
        pass  # the edge was killed: what came, came
    finally:
        await reading.aclose()  # type: ignore[attr-defined]
    return found


def id_of(block: bytes) -> str:
    return block.split(b"\n", 1)[0].removeprefix(b"id: ").decode()

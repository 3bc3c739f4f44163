"""Chunks to the waiting edge: the first at once, later ones gathered for a few milliseconds."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_GATHERED_BYTES_MAX: Final = 1024 * 1024


class ChunkRelay:
    """Sends in order, for one producer. A chunk waits at most `linger_s`, and only just after another.

    When many bytes wait, the producer waits for them to be sent: so no message gets longer than those and one
    chunk, and a slow bus makes a slow stream.
    """

    def __init__(self, send: Callable[[tuple[str, ...]], Awaitable[None]], *, linger_s: float) -> None:
        self._send = send
        self._linger_s = linger_s
        self._waiting: list[str] = []
        self._bytes = 0
        self._sent_at = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self._sending: asyncio.Task[None] | None = None

    async def put(self, chunk: str, size: int) -> None:
        """`size`: in bytes, as the chunk travels."""
        self._waiting.append(chunk)
        self._bytes += size
        if self._bytes >= _GATHERED_BYTES_MAX:
            await self.finish()
            return
        if self._timer is not None or self._sending is not None:
            return
        loop = asyncio.get_running_loop()
        wait_s = self._sent_at + self._linger_s - loop.time()
        if wait_s <= 0:
            await self._send_now()
        else:
            self._timer = loop.call_later(wait_s, self._start_sending)

    async def finish(self) -> None:
        """Send what waits, now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sending is not None:
            await asyncio.shield(self._sending)
        await self._flush()

    def _start_sending(self) -> None:
        self._timer = None
        self._sending = asyncio.create_task(self._flush())
        self._sending.add_done_callback(self._sent)

    def _sent(self, _: asyncio.Task[None]) -> None:
        self._sending = None

    async def _send_now(self) -> None:
        is_first = self._sent_at == float("-inf")
        await self._flush()
        if is_first:
            await asyncio.sleep(0)  # it is written before the rest of a burst is read

    async def _flush(self) -> None:
        while self._waiting:
            chunks, self._waiting, self._bytes = tuple(self._waiting), [], 0
            self._sent_at = asyncio.get_running_loop().time()
            await self._send(chunks)

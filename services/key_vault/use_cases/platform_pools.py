"""The platform's pools as they stand now, and whose turn it is."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextvars import Context

from services.key_vault.domain.platform import PlatformMark, PlatformPool, PoolState, pool_state
from services.key_vault.ports import Clock, PlatformKeys, PlatformMarks
from shared.kernel.names import KeyService


class PlatformPools:
    """Read afresh every time: what ops put there, and what another replica marked, holds at once.

    Raises `vault_unavailable`, `database_unavailable`: a key of which nothing is known is not used.
    """

    def __init__(self, *, keys: PlatformKeys, marks: PlatformMarks, now: Clock) -> None:
        self._keys = keys
        self._marks = marks
        self._now = now
        self._turns: Counter[KeyService] = Counter()
        self._glance: asyncio.Task[dict[KeyService, PoolState]] | None = None

    async def take_turn(self, service: KeyService) -> PoolState:
        """Return a pool; the next to ask gets the next turn."""
        turn = self._turns[service]
        self._turns[service] += 1
        return await self.pool(service, turn=turn)

    async def pool(self, service: KeyService, *, turn: int = 0) -> PoolState:
        pool, marks = await asyncio.gather(self._keys.pool(service), self._marks.marks())
        return await self._state(service, pool, marks, turn)

    async def all(self) -> dict[KeyService, PoolState]:
        """Return every service's pool, without taking a turn."""
        pools = asyncio.gather(*map(self._keys.pool, KeyService))
        marks, found = await asyncio.gather(self._marks.marks(), pools)
        return {
            service: await self._state(service, pool, marks)
            for service, pool in zip(KeyService, found, strict=True)
        }

    async def glance(self) -> dict[KeyService, PoolState]:
        """Return the same, but whoever asks meanwhile has the same answer: it is only to be shown, and seven
        reads of Vault for everybody who looks would leave none for runs.
        """
        if self._glance is None or self._glance.done():
            self._glance = asyncio.create_task(self.all(), context=Context())
        return await asyncio.shield(self._glance)

    async def _state(
        self, service: KeyService, pool: PlatformPool, marks: Sequence[PlatformMark], turn: int = 0
    ) -> PoolState:
        state = pool_state(service, pool, marks, now=self._now(), turn=turn)
        for mark in state.voided:  # left there, it would hide what the rewritten pool's keys do from now on
            await self._marks.clear(mark.credential_id)
        return state

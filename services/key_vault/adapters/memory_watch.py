"""Keeps the memory true: other replicas' changes, a bus that cannot tell of them, a Vault that is sealed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from services.key_vault.adapters.memory import KeyMemory
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import read
from shared.kernel.errors import InvalidRequestError, PlatformError
from shared.kernel.names import KEY_VAULT
from shared.runtime.background import Repeating
from shared.runtime.delivery import Delivery
from shared.runtime.logs import get_logger

_EVERY_S: Final = 0.25
_VAULT_ANSWERS_WITHIN_S: Final = 0.2
"""Together under half a second: as long as a key may be kept after Vault was sealed."""
_FRESH_S: Final = 0.05
"""As long as one may be used."""

_EVENTS: Final = {event.event_type(): event for event in (KeyStored, KeyRevoked, ConsentChanged)}


class MemoryWatch:
    """`vault_is_open`: whether Vault answers, unsealed. `hears`: whether this instance is told of changes."""

    def __init__(
        self,
        memory: KeyMemory,
        *,
        vault_is_open: Callable[[], Awaitable[bool]],
        hears: Callable[[], Awaitable[bool]],
    ) -> None:
        self._memory = memory
        self._vault_is_open = vault_is_open
        self._hears = hears
        self._losses = 0
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None

    def job(self) -> Repeating:
        return Repeating("watch the key memory", self.look, every_s=_EVERY_S)

    async def confirm(self) -> None:
        """Look once more before a remembered key is used, unless somebody has just looked."""
        if not self._memory.is_on or time.monotonic() - self._looked_at < _FRESH_S:
            return
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self.look())
        await asyncio.shield(self._looking)

    async def look(self) -> None:
        """Turn the memory on or off, as it may be now."""
        began = time.monotonic()
        if not await _in_time(self._vault_is_open):
            self._turn_off("vault")
        elif not self._memory.is_on:
            await self._begin()
        self._looked_at = began
        self._memory.forget_old()

    def on_lost(self) -> None:
        """The bus is lost: what happens from now on, nobody tells us."""
        self._losses += 1
        self._turn_off("bus")

    async def on_event(self, delivery: Delivery) -> None:
        """Forget the user whom a key event is about; after one that is not understood, everybody."""
        delivery.check_sender("key events", (KEY_VAULT,))
        try:
            event = read(delivery.envelope, _EVENTS[delivery.envelope.type])
        except (KeyError, InvalidRequestError):
            self._memory.forget_all()
        else:
            self._memory.forget(event.user_id)

    async def _begin(self) -> None:
        losses = self._losses
        try:
            hears = await self._hears()
        except PlatformError:
            return
        if hears and losses == self._losses:
            self._memory.turn_on()

    def _turn_off(self, without: str) -> None:
        if self._memory.is_on:
            get_logger().warning("keys are not remembered any more", without=without)
        self._memory.turn_off()


async def _in_time(ask: Callable[[], Awaitable[bool]]) -> bool:
    try:
        async with asyncio.timeout(_VAULT_ANSWERS_WITHIN_S):
            return await ask()
    except TimeoutError:
        return False

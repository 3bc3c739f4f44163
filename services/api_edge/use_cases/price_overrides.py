"""Administrators' prices, remembered: billing is asked beside the requests, never waited for."""

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

from services.api_edge.ports import PriceAdministration
from services.api_edge.use_cases.background_refresh import BackgroundRefresh
from shared.contracts.prices import PriceSet

_FRESH_S: Final = 10.0


class PriceOverrides:
    """Versions never change, so what is known stays. `clock` in seconds."""

    def __init__(
        self,
        prices: PriceAdministration,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._prices = prices
        self._now = now
        self._versions: dict[str, PriceSet] = {}
        self._refresh = BackgroundRefresh(self._read, every_s=_FRESH_S, clock=clock)

    def __call__(self) -> Mapping[str, PriceSet]:
        """Return what holds now, by model in lower case, as billing does. One without a price lets the listed
        one hold.
        """
        self._refresh()
        now = self._now()
        begun = (version for version in self._versions.values() if version.valid_from <= now)
        return {version.model.lower(): version for version in sorted(begun, key=attrgetter("rank"))}

    def note(self, version: PriceSet) -> None:
        """Remember one that was just set."""
        self._versions[version.version] = version

    async def _read(self) -> None:
        found = await self._prices.prices(None)
        for version in found.overrides:
            self.note(version)

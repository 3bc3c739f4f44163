"""Prices that administrators set per model, over those of another book."""

from datetime import datetime
from typing import Final, TypeAlias

import asyncpg

from services.billing.adapters.failures import store_errors
from services.billing.domain.price_versions import PriceVersions
from services.billing.ports import PriceBook
from shared.contracts.prices import PriceSet, PriceSpec, SetPrice
from shared.kernel.names import KeyService
from shared.kernel.prices import Price
from shared.runtime.postgres import Pool, database_errors

Database: TypeAlias = (
    "Pool | asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
)

_SET: Final = """
INSERT INTO prices (model, price, valid_from, set_by) VALUES ($1, $2, $3, $4)
RETURNING version, model, price, valid_from, set_by
"""
_ALL: Final = """
SELECT version, model, price, valid_from, set_by FROM prices
WHERE $1::text IS NULL OR lower(model) = lower($1)
ORDER BY version DESC
"""
# Versions are never changed or removed, so their number tells whether any came. The highest would not:
# a lower one may be committed after it.
_COUNT: Final = "SELECT count(*) FROM prices"


class PostgresPriceBook:
    """See `PriceStore` and `PriceBook`. `refresh()` reads what was set; models without that are in `under`.

    What is set here holds here at once.
    """

    def __init__(self, pool: Database, under: PriceBook) -> None:
        self._pool = pool
        self._under = under
        self._versions = PriceVersions()
        self._known = 0

    async def refresh(self) -> None:
        """Read all versions when there are new ones. Raises DatabaseUnavailableError; what was read stays."""
        with database_errors():
            there = await self._pool.fetchval(_COUNT)
        if there != self._known:
            self._know(await self.all(None))

    async def set(self, command: SetPrice, valid_from: datetime) -> PriceSet:
        price = command.price and command.price.model_dump_json(exclude_none=True)
        with store_errors():
            kept = await self._pool.fetchrow(_SET, command.model, price, valid_from, command.set_by)
        assert kept is not None  # noqa: S101 - it was inserted
        await self.refresh()
        return _version(kept)

    async def all(self, model: str | None) -> list[PriceSet]:
        with store_errors():
            found = await self._pool.fetch(_ALL, model)
        return [_version(row) for row in found]

    def find(self, provider: KeyService, model: str, at: datetime) -> Price | None:
        version = self._versions.find(provider, model, at)
        if version is None or version.price is None:
            return self._under.find(provider, model, at)
        return version.price.named(version.version)

    def _know(self, found: list[PriceSet]) -> None:
        if len(found) > self._known:  # else another refresh, which began later, was faster
            self._versions, self._known = PriceVersions(found), len(found)


def _version(row: asyncpg.Record) -> PriceSet:
    price = row["price"]
    return PriceSet(
        version=f"prices-{row['version']}",
        model=row["model"],
        price=None if price is None else PriceSpec.model_validate_json(price),
        valid_from=row["valid_from"],
        set_by=row["set_by"],
    )

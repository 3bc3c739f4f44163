"""Prices that operators set per model, over those of another book."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import asyncpg

from services.billing.adapters import sql
from services.billing.ports import PriceBook
from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Rate
from shared.runtime.postgres import database_errors


class PostgresPriceBook:
    """See `PriceBook`. `refresh()` reads the table `prices`; models not in it are found in `under`."""

    def __init__(self, pool: "asyncpg.Pool[Any]", under: PriceBook) -> None:
        self._pool = pool
        self._under = under
        self._latest_first: dict[str, list[tuple[datetime, Price]]] = {}

    async def refresh(self) -> None:
        """Raise DatabaseUnavailableError; what was read before stays."""
        with database_errors():
            found = await self._pool.fetch(sql.PRICES)
        books: dict[str, list[tuple[datetime, Price]]] = {}
        for row in found:
            books.setdefault(row["model"], []).insert(0, (row["valid_from"], _price(row)))
        self._latest_first = books

    def find(self, provider: KeyService, model: str, at: datetime) -> Price | None:
        name = f"{provider}/{model.removeprefix(f'{provider}/')}"
        for valid_from, price in self._latest_first.get(name, ()):
            if valid_from <= at:
                return price
        return self._under.find(provider, model, at)


def _price(row: Mapping[str, Any]) -> Price:
    return Price(
        version=f"prices-{row['version']}",
        prompt=Rate(row["input_usd"]),
        completion=Rate(row["output_usd"]),
        cached=None if row["cached_usd"] is None else Rate(row["cached_usd"]),
    )

"""What a period is rated with: billing's own book of today, and a file's prices over it."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import asyncpg
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from infra.stack_settings import UsageError
from services.billing.adapters.genai_prices_book import GenaiPriceBook
from services.billing.adapters.postgres_prices import PostgresPriceBook
from services.billing.domain.price_versions import full_name, provider_of
from services.billing.ports import PriceBook
from shared.contracts.prices import PriceSpec
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import InvalidRequestError
from shared.kernel.prices import Price, Quote, Tariff

_LAST_TARIFF = """
SELECT (quote #>> '{tariff,credit_usd}')::numeric AS credit_usd,
       (quote #>> '{tariff,markup}')::numeric AS markup
FROM billing.holds WHERE quote IS NOT NULL ORDER BY created_at DESC LIMIT 1
"""


def _without_units(value: Any) -> Any:
    """Read a price as the edge writes it, too: `input_usd` for `input`."""
    if not isinstance(value, dict):
        return value
    return {str(name).removesuffix("_usd"): rate for name, rate in value.items()}


class PriceFile(BaseModel):
    """`prices`: by `provider/model`, as `PUT /api/admin/prices` takes them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prices: dict[str, Annotated[PriceSpec, BeforeValidator(_without_units)]] = Field(default_factory=dict)
    credit_usd: Decimal | None = Field(default=None, gt=0, max_digits=15, decimal_places=9)
    markup: Decimal | None = Field(default=None, ge=0, max_digits=15, decimal_places=9)

    @field_validator("prices")
    @classmethod
    def _are_models(cls, prices: dict[str, PriceSpec]) -> dict[str, PriceSpec]:
        for name in prices:
            try:
                provider_of(name)
            except InvalidRequestError:
                raise ValueError(f"{name} names no known provider") from None
        return prices


@dataclass(frozen=True)
class Rates:
    """`at`: the time whose prices hold; None: each attempt's own."""

    book: PriceBook
    tariff: Tariff
    at: datetime | None
    over: dict[str, Price] = field(default_factory=dict)

    def quote(self, event: UsageRecorded) -> Quote | None:
        """Return what an attempt is rated with, None for a model whose price is unknown."""
        name = full_name(event.provider, event.model).lower()
        price = self.over.get(name) or self.book.find(
            event.provider, event.model, event.started_at if self.at is None else self.at
        )
        return None if price is None else Quote(price, self.tariff)


def read_price_file(path: Path) -> PriceFile:
    """Raise UsageError for what is no price file."""
    try:
        return PriceFile.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise UsageError(f"{path} holds no prices: {where}: {first['msg']}") from None


async def rates(database: "asyncpg.Connection[Any]", file: PriceFile, at: datetime | None) -> Rates:
    """Return the prices of a file over those in the database over the list.

    What a credit is worth, and the markup, are the last authorization's unless the file says otherwise.
    """
    await database.execute("SET search_path TO billing")
    book = PostgresPriceBook(database, under=GenaiPriceBook())
    await book.refresh()
    last = await database.fetchrow(_LAST_TARIFF)
    tariff = Tariff() if last is None else Tariff(*last)
    over = {name.lower(): spec.named("file") for name, spec in file.prices.items()}
    credit_usd = tariff.credit_usd if file.credit_usd is None else file.credit_usd
    markup = tariff.markup if file.markup is None else file.markup
    return Rates(book, Tariff(credit_usd, markup), at, over)

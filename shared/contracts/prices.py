"""Messages about prices: US$ per million tokens, as decimal strings on the wire."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Self

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    model_validator,
)

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request
from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Quote, Rate, Tier

_USD_MAX: Final = 1_000_000
_PLACES: Final = 9
_PLAIN: Final = re.compile(r"[0-9]{1,7}(\.[0-9]{1,9})?")


def _plain(value: object) -> Decimal:
    """Read a number or a decimal without an exponent, of at most nine decimals."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError("not a number")  # noqa: TRY004 - pydantic tells of ValueErrors
    if isinstance(value, str) and not _PLAIN.fullmatch(value):
        raise ValueError("not a plain decimal")
    usd = Decimal(str(value))
    if not (usd.is_finite() and 0 <= usd <= _USD_MAX and usd == round(usd, _PLACES)):
        raise ValueError("not an amount of US$")
    return abs(usd)  # not -0


Usd = Annotated[
    Decimal,
    BeforeValidator(_plain, json_schema_input_type=str | Annotated[float, Field(ge=0, le=_USD_MAX)]),
    PlainSerializer(lambda usd: f"{usd:f}", return_type=str, when_used="json"),
]
"""At most a million, in billionths."""


class TierSpec(BaseModel):
    """`usd` holds for all tokens of an attempt whose prompt is longer than `above` tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above: int = Field(gt=0, le=10**9)
    usd: Usd


class RateSpec(BaseModel):
    """US$ per million tokens; `tiers` by rising `above`. A mere amount is read as one without tiers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Usd
    tiers: tuple[TierSpec, ...] = Field(default=(), max_length=8)

    @model_validator(mode="before")
    @classmethod
    def _from_amount(cls, value: object) -> object:
        return value if isinstance(value, dict | RateSpec) else {"usd": _plain(value)}

    @model_validator(mode="after")
    def _tiers_rise(self) -> Self:
        above = [tier.above for tier in self.tiers]
        if above != sorted(set(above)):
            raise ValueError("the tiers do not rise")
        return self

    @property
    def rate(self) -> Rate:
        return Rate(self.usd, tuple(Tier(tier.above, tier.usd) for tier in self.tiers))


class PriceSpec(BaseModel):
    """What a model costs. Tokens of a kind without a rate cost as the rest of prompt or completion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: RateSpec
    output: RateSpec
    cached: RateSpec | None = None
    cache_write: RateSpec | None = None
    reasoning: RateSpec | None = None

    def named(self, version: str) -> Price:
        """Return the price under the name of its version."""
        cached, reasoning, cache_write = map(_rate, (self.cached, self.reasoning, self.cache_write))
        return Price(version, self.input.rate, self.output.rate, cached, reasoning, cache_write)


def _rate(spec: RateSpec | None) -> Rate | None:
    return None if spec is None else spec.rate


class FindPrice(Request):
    """What a model costs now. Answered with `PriceFound`."""

    ROUTING_KEY = "billing.price.v1"

    provider: KeyService
    model: str


class PriceFound(Answer):
    """`quote` is None for a model whose price is unknown."""

    quote: Quote | None


class SetPrice(Request):
    """Overrides a model's listed price from `valid_from` on (None: from now); with no `price`, the listed one
    holds again. Answered with `PriceSet`. Raises `invalid_request` for a time that has passed: what was rated
    stays rated.
    """

    ROUTING_KEY = "billing.set_price.v1"

    model: str = Field(min_length=3, max_length=256)
    """`provider/model`."""
    price: PriceSpec | None
    valid_from: AwareDatetime | None = None
    set_by: str


class PriceSet(Answer):
    """One version of an override. With no `price`, the listed one holds."""

    version: str
    model: str
    price: PriceSpec | None
    valid_from: AwareDatetime
    set_by: str

    @property
    def rank(self) -> tuple[datetime, int, str]:
        """Of a model's versions that have begun the highest holds: the latest `valid_from`, of equal ones the
        later version (they are numbered).
        """
        return self.valid_from, len(self.version), self.version


class ListPrices(Request):
    """All overrides, or one model's, newest first. Answered with `PriceList`."""

    ROUTING_KEY = "billing.prices.v1"

    model: str | None = None


class PriceList(Answer):
    """`current`: what holds now for the one model asked for; None when nobody knows, or for all models."""

    overrides: tuple[PriceSet, ...]
    current: Quote | None = None

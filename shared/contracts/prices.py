"""Messages about prices: US$ per million tokens, as decimal strings on the wire."""

from decimal import Decimal
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request
from shared.kernel.names import KeyService
from shared.kernel.prices import Price, Quote, Rate, Tier

Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, max_digits=18, decimal_places=9)]


class TierSpec(BaseModel):
    """`usd` holds for all tokens of an attempt whose prompt is longer than `above` tokens."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    above: int = Field(gt=0, le=10**9)
    usd: Usd


class RateSpec(BaseModel):
    """US$ per million tokens; `tiers` by rising `above`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: Usd
    tiers: tuple[TierSpec, ...] = Field(default=(), max_length=8)

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
        cached, reasoning, cache_write = (
            spec and spec.rate for spec in (self.cached, self.reasoning, self.cache_write)
        )
        return Price(version, self.input.rate, self.output.rate, cached, reasoning, cache_write)


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

    model: str = Field(min_length=3, max_length=200)
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


class ListPrices(Request):
    """All overrides, or one model's, newest first. Answered with `PriceList`."""

    ROUTING_KEY = "billing.prices.v1"

    model: str | None = None


class PriceList(Answer):
    """`current`: what holds now for the one model asked for; None when nobody knows, or for all models."""

    overrides: tuple[PriceSet, ...]
    current: Quote | None = None

"""What a model costs: US$ per million tokens, in Decimals; and what that is in credits."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from shared.kernel.money import usd_to_micros

_PER: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an attempt used. `cached` (read from the provider's cache) and `cache_write` (written to it) are
    parts of `prompt`, `reasoning` is part of `completion`.
    """

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Tier:
    """`usd` holds for all tokens of an attempt whose prompt is longer than `above` tokens."""

    above: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Rate:
    """US$ per million tokens; `tiers` by rising `above`."""

    usd: Decimal
    tiers: tuple[Tier, ...] = ()

    def at(self, prompt: int) -> Decimal:
        if not self.tiers:  # most have none, and this is asked five times an attempt
            return self.usd
        return next((tier.usd for tier in reversed(self.tiers) if prompt > tier.above), self.usd)

    def highest(self, prompt_max: int) -> Decimal:
        return max(self.usd, *(tier.usd for tier in self.tiers if prompt_max > tier.above), Decimal(0))


@dataclass(frozen=True, slots=True)
class Price:
    """One version of a model's price. Without a rate of their own, tokens of a kind cost as the rest does."""

    version: str
    prompt: Rate
    completion: Rate
    cached: Rate | None = None
    reasoning: Rate | None = None
    cache_write: Rate | None = None

    def cost_usd(self, tokens: Tokens) -> Decimal:
        cached = min(tokens.cached, tokens.prompt)
        written = min(tokens.cache_write, tokens.prompt - cached)
        reasoning = min(tokens.reasoning, tokens.completion)
        return (
            (tokens.prompt - cached - written) * self.prompt.at(tokens.prompt)
            + cached * (self.cached or self.prompt).at(tokens.prompt)
            + written * (self.cache_write or self.prompt).at(tokens.prompt)
            + (tokens.completion - reasoning) * self.completion.at(tokens.prompt)
            + reasoning * (self.reasoning or self.completion).at(tokens.prompt)
        ) / _PER

    def worst_usd(self, prompt_max: int, completion_max: int) -> Decimal:
        """Return what no attempt within these counts can exceed."""
        of_prompt = (self.prompt, self.cached or self.prompt, self.cache_write or self.prompt)
        of_completion = (self.completion, self.reasoning or self.completion)
        return (
            prompt_max * max(rate.highest(prompt_max) for rate in of_prompt)
            + completion_max * max(rate.highest(prompt_max) for rate in of_completion)
        ) / _PER


@dataclass(frozen=True, slots=True)
class Tariff:
    """`credit_usd`: what one credit is worth in US$; `markup`: what a cost is multiplied by."""

    credit_usd: Decimal = Decimal("0.01")
    markup: Decimal = Decimal(1)

    def micros(self, usd: Decimal) -> int:
        """Return a cost in credit micros, rounded up."""
        return usd_to_micros(usd, credit_usd=self.credit_usd, markup=self.markup)


@dataclass(frozen=True, slots=True)
class Quote:
    """A price in credits, as it holds for one attempt from its authorization to its charge."""

    price: Price
    tariff: Tariff

    def cost_micros(self, tokens: Tokens) -> int:
        return self.tariff.micros(self.price.cost_usd(tokens))

    def worst_micros(self, prompt_max: int, completion_max: int) -> int:
        """Return the credit micros that no attempt within these token counts can exceed."""
        return self.tariff.micros(self.price.worst_usd(prompt_max, completion_max))

"""What a model costs: US$ per million tokens, in Decimals."""

from dataclasses import dataclass
from decimal import Decimal

_PER = 1_000_000


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an attempt used; `cached` is part of `prompt`, `reasoning` part of `completion`."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0


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
        return next((tier.usd for tier in reversed(self.tiers) if prompt > tier.above), self.usd)

    def highest(self, prompt_max: int) -> Decimal:
        return max(self.usd, *(tier.usd for tier in self.tiers if prompt_max > tier.above), Decimal(0))


@dataclass(frozen=True, slots=True)
class Price:
    """One version of a model's price. Without `cached` or `reasoning` those tokens cost as the rest does."""

    version: str
    prompt: Rate
    completion: Rate
    cached: Rate | None = None
    reasoning: Rate | None = None

    def cost_usd(self, tokens: Tokens) -> Decimal:
        cached = min(tokens.cached, tokens.prompt)
        reasoning = min(tokens.reasoning, tokens.completion)
        return (
            (tokens.prompt - cached) * self.prompt.at(tokens.prompt)
            + cached * (self.cached or self.prompt).at(tokens.prompt)
            + (tokens.completion - reasoning) * self.completion.at(tokens.prompt)
            + reasoning * (self.reasoning or self.completion).at(tokens.prompt)
        ) / _PER

    def worst_usd(self, prompt_max: int, completion_max: int) -> Decimal:
        """Return what no attempt within these counts can exceed."""
        prompt = max(rate.highest(prompt_max) for rate in (self.prompt, self.cached or self.prompt))
        completion = max(
            rate.highest(prompt_max) for rate in (self.completion, self.reasoning or self.completion)
        )
        return (prompt_max * prompt + completion_max * completion) / _PER

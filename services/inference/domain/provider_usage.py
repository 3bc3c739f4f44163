"""Reading a provider's `usage` object: OpenAI's fields, and where others differ."""

from decimal import Decimal, InvalidOperation
from typing import Any, Final

import orjson

from shared.contracts.usage import TokenCounts
from shared.kernel.names import TokensSource

_TOKENS_MAX: Final = 10**9
_USD_EXPONENTS: Final = range(-18, 7)
_USD_CHARS_MAX: Final = 40
_KEPT_BYTES_MAX: Final = 8_192
_KEPT_CONTAINERS_MAX: Final = 64
_NUL: Final = b"\\u0000"
_PROMPT: Final = ("prompt_tokens", "input_tokens")
_COMPLETION: Final = ("completion_tokens", "output_tokens")
"""In chat and embeddings, and in responses."""
_READ: Final = ("cached_tokens",)
_READ_BESIDE: Final = ("cache_read_input_tokens", "prompt_cache_hit_tokens")
_WRITTEN: Final = ("cache_write_tokens", "cache_creation_tokens")
_WRITTEN_BESIDE: Final = ("cache_creation_input_tokens",)
"""Tokens read from and written to the provider's cache, by their names in the prompt's details and beside
them: OpenAI and OpenRouter have the first ones, LiteLLM and Portkey Anthropic's, DeepSeek one of its own."""


def keepable(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a usage object that is small and flat; None for any other.

    A caller's own address may send anything, and it is kept in every table and stream that the event passes.
    """
    try:
        text = orjson.dumps(usage)
    except orjson.JSONEncodeError:  # too deep
        return None
    containers = text.count(b"{") + text.count(b"[")
    if len(text) > _KEPT_BYTES_MAX or containers > _KEPT_CONTAINERS_MAX or _NUL in text:
        return None
    return usage


def measured_tokens(usage: dict[str, Any]) -> TokenCounts | None:
    """Return the counts of a usage object, None when it does not hold them.

    Some providers (xAI, Gemini) leave reasoning out of `completion_tokens` and in the total, and Portkey what
    Anthropic's cache read and wrote out of `prompt_tokens`: the total wins.
    """
    prompt, completion = _first(usage, _PROMPT), _first(usage, _COMPLETION)
    if completion is None and prompt is not None and prompt == _count(usage, "total_tokens"):
        completion = 0  # embeddings generate nothing
    if prompt is None or completion is None:
        return None
    details = _details(usage, "prompt_tokens_details") or _details(usage, "input_tokens_details")
    cached, written = (
        max(_largest(details, inside), _largest(usage, beside))
        for inside, beside in ((_READ, _READ_BESIDE), (_WRITTEN, _WRITTEN_BESIDE))
    )
    beyond = max(0, (_count(usage, "total_tokens") or 0) - prompt - completion)
    if beyond == _largest(usage, _READ_BESIDE) + _largest(usage, _WRITTEN_BESIDE):
        prompt += beyond
    else:
        completion += beyond
    cached = min(cached, prompt)
    generated = _details(usage, "completion_tokens_details") or _details(usage, "output_tokens_details")
    reasoning = _count(generated, "reasoning_tokens") or 0
    return TokenCounts(
        prompt=prompt,
        completion=completion,
        cached=cached,
        cache_write=min(written, prompt - cached),
        reasoning=min(reasoning, completion),
        source=TokensSource.MEASURED,
    )


def provider_cost_usd(usage: dict[str, Any]) -> str | None:
    """Return what the provider says the call cost, as a plain decimal.

    OpenRouter reports 0 for a key of one's own with the upstream provider; the figure is then in the details.
    """
    upstream = _usd(_details(usage, "cost_details").get("upstream_inference_cost"))
    cost = _usd(usage.get("cost"))
    found = upstream if upstream is not None and not cost else cost
    return None if found is None else f"{found:f}"


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if type(value) is int and 0 <= value <= _TOKENS_MAX else None


def _first(usage: dict[str, Any], names: tuple[str, ...]) -> int | None:
    """Return what goes by the first of these names that is there."""
    return next((count for name in names if (count := _count(usage, name)) is not None), None)


def _largest(usage: dict[str, Any], names: tuple[str, ...]) -> int:
    """Return what goes by one of these names, 0 when none is there."""
    return max(_count(usage, name) or 0 for name in names)


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, dict) else {}


def _usd(value: object) -> Decimal | None:
    """Read an amount of dollars; None for what is none, or could not be written out (1e999999999)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        amount = Decimal(str(value)) if len(str(value)) <= _USD_CHARS_MAX else Decimal("NaN")
    except InvalidOperation:
        return None
    if amount.is_zero():
        return Decimal(0)
    return amount if amount.is_finite() and amount > 0 and amount.adjusted() in _USD_EXPONENTS else None

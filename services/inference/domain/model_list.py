"""Reading OpenRouter's list of models, and the one of those hosts of theirs that keep nothing.

https://openrouter.ai/docs/api-reference/list-available-models
https://openrouter.ai/docs/api-reference/endpoints/list-endpoints-zdr
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal, DecimalException
from typing import Any, Final

from shared.contracts.models import ListedModel

_MODELS_MAX: Final = 5_000
_HOSTS_MAX: Final = 20_000
_CHARS_MAX: Final = 200
_PER_MILLION: Final = 1_000_000
_USD_MAX: Final = 1_000_000
_FEATURES: Final = {
    "tools": "tools",
    "structured_outputs": "json_schema",
    "response_format": "json",
    "reasoning": "reasoning",
    "logprobs": "logprobs",
    "seed": "seed",
}
"""Parameters that a model takes, and what we call what it can do by that."""
_INPUTS: Final = {"image": "vision", "audio": "audio_input", "file": "file_input"}


def listed_models(body: object, zero_retention: frozenset[str] = frozenset()) -> tuple[ListedModel, ...]:
    """Return what can be read of the list; what cannot is left out.

    `zero_retention`: what `zero_retention_models` returned.
    """
    found = (_model(entry, zero_retention) for entry in _entries(body, _MODELS_MAX))
    return tuple(model for model in found if model is not None)


def zero_retention_models(body: object) -> frozenset[str]:
    """Return the models that a host keeps nothing of; none when that cannot be read."""
    names = (_text(entry.get("model_id")) for entry in _entries(body, _HOSTS_MAX))
    return frozenset(name for name in names if name is not None)


def _entries(body: object, most: int) -> list[Mapping[str, Any]]:
    data = body.get("data") if isinstance(body, dict) else None
    return [entry for entry in data[:most] if isinstance(entry, dict)] if isinstance(data, list) else []


def _model(entry: Mapping[str, Any], zero_retention: frozenset[str]) -> ListedModel | None:
    name = _text(entry.get("id"))
    if name is None:
        return None
    kinds, pricing = _dict(entry.get("architecture")), _dict(entry.get("pricing"))
    return ListedModel(
        id=name,
        name=_text(entry.get("name")),
        context_window=_count(entry.get("context_length")),
        features=tuple(sorted(set(_features(entry, kinds)))),
        output_kinds=tuple(_texts(kinds.get("output_modalities"))),
        zero_data_retention=name in zero_retention if zero_retention else None,
        input_usd=_usd(pricing.get("prompt")),
        output_usd=_usd(pricing.get("completion")),
    )


def _features(entry: Mapping[str, Any], kinds: Mapping[str, Any]) -> Iterator[str]:
    for names, value in (
        (_FEATURES, entry.get("supported_parameters")),
        (_INPUTS, kinds.get("input_modalities")),
    ):
        yield from (names[text] for text in _texts(value) if text in names)


def _texts(value: object) -> list[str]:
    return [text for text in value[:100] if _text(text)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    is_one = isinstance(value, str) and 0 < len(value) <= _CHARS_MAX and value.isprintable()
    return str(value) if is_one else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _dict(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _usd(value: object) -> Decimal | None:
    """Read US$ per token as US$ per million; less than nothing stands for a price that varies."""
    try:
        usd = Decimal(str(value)[:40]) * _PER_MILLION
    except DecimalException:
        return None
    return usd if usd.is_finite() and 0 <= usd <= _USD_MAX else None

"""How many tokens a request may use, before (or without) the provider's own count."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from services.inference.domain.message_parts import inline_chars, parts
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import Operation

_OVERHEAD_TOKENS: Final = 16
_CHARS_PER_TOKEN: Final = 4
_IMAGE_TOKENS_MAX: Final = 5_000
_DEAR_IMAGES: Final = "gpt-4o-mini"
_DEAR_IMAGE_TOKENS_MAX: Final = 50_000
"""2,833 and 5,667 for each of up to eight tiles: https://platform.openai.com/docs/guides/images-vision"""
_IMAGE_TOKENS: Final = 1_000
_AUDIO_CHARS_PER_TOKEN: Final = 200
"""Base64 characters: audio is about ten tokens a second, compressed speech some 2 kB."""
_COMPLETION_LIMITS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_LIMIT_MAX: Final = 10**7


@dataclass(frozen=True, slots=True)
class PromptSize:
    """`text_bytes`: the body as JSON, without the media in it. `audio_chars`: base64."""

    text_bytes: int
    images: int = 0
    audio_chars: int = 0

    def tokens_max(self, model: str) -> int:
        """On the safe side, for a hold: no byte-level tokenizer makes more than one token of a byte."""
        image = _DEAR_IMAGE_TOKENS_MAX if _DEAR_IMAGES in model.lower() else _IMAGE_TOKENS_MAX
        return self.text_bytes + _OVERHEAD_TOKENS + self.images * image + self._audio

    @property
    def tokens_likely(self) -> int:
        """What is recorded when a provider does not tell; never more than `tokens_max`."""
        return self.text_bytes // _CHARS_PER_TOKEN + self.images * _IMAGE_TOKENS + self._audio

    @property
    def _audio(self) -> int:
        return self.audio_chars // _AUDIO_CHARS_PER_TOKEN


def prompt_size(body: dict[str, Any]) -> PromptSize:
    """Measure a chat body of any shape; what is malformed counts as text."""
    images = audio = inline = 0
    for part in parts(body):
        if "image_url" in part:
            images += 1
            inline += inline_chars(part["image_url"])
        elif isinstance(sound := part.get("input_audio"), dict) and isinstance(sound.get("data"), str):
            audio += len(sound["data"])
    return PromptSize(len(orjson.dumps(body)) - inline - audio, images, audio)


def estimated_completion(chars: int) -> int:
    return -(-chars // _CHARS_PER_TOKEN)


def completion_limit(body: dict[str, Any]) -> int | None:
    """Return the client's own limit for one choice, the larger when it sent both names."""
    asked = [_positive(body, name) for name in _COMPLETION_LIMITS if body.get(name) is not None]
    return max(asked, default=None)


def completion_tokens_max(body: dict[str, Any], ceiling: int, operation: Operation = Operation.CHAT) -> int:
    """Return the worst case over all choices. Raises InvalidRequestError for limits that are no numbers."""
    if operation is Operation.EMBEDDINGS:
        return 0
    choices = _positive(body, "n") if body.get("n") is not None else 1
    return (completion_limit(body) or ceiling) * choices


def _positive(body: dict[str, Any], name: str) -> int:
    value = body[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LIMIT_MAX:
        raise InvalidRequestError(f"{name} must be a positive whole number up to {_LIMIT_MAX}")
    return value

"""How many tokens a request may use, before (or without) the provider's own count."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson

from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import Operation

_OVERHEAD_TOKENS: Final = 16
_BYTES_PER_TOKEN_MIN: Final = 3
_CHARS_PER_TOKEN: Final = 4
_IMAGE_TOKENS_MAX: Final = 5_000
_IMAGE_TOKENS: Final = 1_000
_AUDIO_CHARS_PER_TOKEN: Final = 200
"""Base64 characters: audio is about ten tokens a second, compressed speech some 2 kB."""
_COMPLETION_LIMITS: Final = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_LIMIT_MAX: Final = 10**7
_PRICED_APART: Final = (
    *("service_tier", "web_search_options", "modalities", "audio"),  # OpenAI
    *("models", "route", "provider", "plugins", "preset"),  # OpenRouter
    "extra_body",  # Gemini
    *("previous_response_id", "conversation", "prompt", "background"),  # OpenAI's Responses: what lies there
)
"""What makes a call cost something else than its model's tokens, or calls another model."""
_PARTS: Final = ("text", "refusal", "image_url", "input_text", "output_text", "input_image")
"""Of messages, what is rated as text is. Audio is dearer, files are read at a price of their own, and a link
to a video is short but stands for more tokens than anybody held."""
_CACHE_TTL: Final = "5m"
"""Written to the provider's cache for longer, tokens are dearer than the price says."""
_TOOLS: Final = ("function", "custom")
_ITEMS: Final = (
    "message",
    "function_call",
    "function_call_output",
    "custom_tool_call",
    "custom_tool_call_output",
)
"""Of a Responses' input, what is there as text. A reference stands for what nobody measured."""
_DEARER_MODEL: Final = re.compile(r"[:@](?:online|nitro|exacto|extended|preset)(?![^:@/])", re.IGNORECASE)
"""OpenRouter's ways to ask in a model's name for web search, dearer hosts, or a preset of the key's account:
https://openrouter.ai/docs/features/model-variants"""


@dataclass(frozen=True, slots=True)
class PromptSize:
    """`text_bytes`: the body as JSON, without the media in it. `audio_chars`: base64."""

    text_bytes: int
    images: int = 0
    audio_chars: int = 0

    @property
    def tokens_max(self) -> int:
        """On the safe side, for a hold."""
        text = self.text_bytes // _BYTES_PER_TOKEN_MIN + _OVERHEAD_TOKENS
        return text + self.images * _IMAGE_TOKENS_MAX + self._audio

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
    for part in _parts(body):
        if "image_url" in part:
            images += 1
            inline += _inline_chars(part["image_url"])
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


def check_priceable(model: str, body: dict[str, Any]) -> None:
    """Raise InvalidRequestError for what the price of the model's tokens does not cover: nobody held it."""
    if _DEARER_MODEL.search(model):
        raise InvalidRequestError("this variant of the model needs a key of your own")
    for name in _PRICED_APART:
        if body.get(name) is not None:
            raise InvalidRequestError(f"{name} needs a key of your own: credits pay for tokens only")
    tools = body.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict) and tool.get("type", "function") not in _TOOLS:
            raise InvalidRequestError(
                "tools of the provider's need a key of your own: credits pay for tokens"
            )
    _check_parts(body)


def _check_parts(body: dict[str, Any]) -> None:
    if any(item.get("type", "message") not in _ITEMS for item in _objects(body.get("input"))):
        raise InvalidRequestError("of the input, all but messages and tool calls needs a key of your own")
    parts = list(_parts(body))
    if not all(_is_text_or_image(part) for part in parts):
        raise InvalidRequestError("in messages, all but texts and images needs a key of your own")
    if any(_is_cached_long(each) for each in (body, *parts, *_objects(body.get("tools")))):
        raise InvalidRequestError(f"caching for longer than {_CACHE_TTL} needs a key of your own")


def _is_text_or_image(part: dict[str, Any]) -> bool:
    """Some providers read anything that is sent as an image by what its address says it is."""
    if part.get("file_id") is not None:
        return False
    address = _address(part["image_url"]) if "image_url" in part else ""
    return part.get("type") in _PARTS and (not _is_inline(address) or address[:11].lower() == "data:image/")


def _is_cached_long(holder: dict[str, Any]) -> bool:
    control = holder.get("cache_control")
    return isinstance(control, dict) and control.get("ttl", _CACHE_TTL) != _CACHE_TTL


def _positive(body: dict[str, Any], name: str) -> int:
    value = body[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LIMIT_MAX:
        raise InvalidRequestError(f"{name} must be a positive whole number up to {_LIMIT_MAX}")
    return value


def _parts(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a chat's messages, and of a Responses' input: of messages and of tools' outputs."""
    for name in ("messages", "input"):
        for message in _objects(body.get(name)):
            yield from _objects(message.get("content"))
            yield from _objects(message.get("output"))


def _objects(value: object) -> Iterator[dict[str, Any]]:
    """Yield the objects in a list; none of what is no list."""
    for each in value if isinstance(value, list) else ():
        if isinstance(each, dict):
            yield each


def _inline_chars(image: object) -> int:
    address = _address(image)
    return len(address) if _is_inline(address) else 0


def _address(image: object) -> str:
    url = image.get("url") if isinstance(image, dict) else image
    return url if isinstance(url, str) else ""


def _is_inline(address: str) -> bool:
    return address[:5].lower() == "data:"

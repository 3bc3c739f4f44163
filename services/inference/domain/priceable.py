"""What credits pay for: a model's tokens, and nothing that the price of them does not cover."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from services.inference.domain.message_parts import address_of, is_inline, objects, parts
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import Operation

_COMMON: Final = (
    *("temperature", "top_p", "top_logprobs", "tools", "tool_choice", "parallel_tool_calls"),
    *("metadata", "user", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "store"),
    *("reasoning", "verbosity", "stream_options"),
    *("presence_penalty", "frequency_penalty", "stop", "seed", "logit_bias"),
    *("top_k", "top_a", "min_p", "repetition_penalty", "structured_outputs", "transforms"),  # OpenRouter
    *("include_reasoning", "reasoning_effort", "usage"),  # OpenRouter
    *("thinking", "cache_control"),  # Anthropic
    *("reasoning_format", "disable_tool_validation"),  # Groq
)
PARAMETERS: Final[Mapping[Operation, frozenset[str]]] = {
    Operation.CHAT: frozenset(
        (
            *_COMMON,
            *("messages", "max_completion_tokens", "max_tokens", "n", "logprobs"),
            *("response_format", "functions", "function_call"),
        )
    ),
    Operation.RESPONSES: frozenset(
        (
            *_COMMON,
            *(
                "input",
                "instructions",
                "max_output_tokens",
                "text",
                "truncation",
                "include",
                "max_tool_calls",
            ),
        )
    ),
    Operation.EMBEDDINGS: frozenset(("input", "dimensions", "encoding_format", "user")),
}
"""What costs tokens only: of OpenAI's parameters (https://platform.openai.com/docs/api-reference), and of
those that others add. Not among them: a limit of another endpoint's (the hold would be that, and nobody would
heed it), and `prediction` (what of it is rejected costs as a completion does, beyond any limit).

What is not known may cost anything: gateways have parameters that call another model (`fallbacks`,
`providerOptions`), or search (`search_parameters`).
"""
_FREE: Final[Mapping[str, object]] = {"modalities": ["text"], "background": False}
"""What asks for nothing more by that."""
_STREAM_OPTIONS: Final = frozenset({"include_usage", "include_obfuscation"})
_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_PARTS: Final = ("text", "refusal", "image_url", "input_text", "output_text", "input_image")
"""Of messages, what is rated as text is. Audio is dearer, files are read at a price of their own, and a link
to a video is short but stands for more tokens than anybody held."""
_CACHE_TTL: Final = "5m"
"""Written to the provider's cache for longer, tokens are dearer than the price says."""
_TOOLS: Final = ("function", "custom")
_TOOL_MEMBERS: Final = frozenset(
    ("type", "function", "custom", "name", "description", "parameters", "strict", "format", "cache_control")
)
"""Gateways know tools of Gemini's by a member: `{"googleSearch": {}}`."""
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


def check_priceable(model: str, body: dict[str, Any], operation: Operation = Operation.CHAT) -> None:
    """Raise InvalidRequestError for what the price of the model's tokens does not cover: nobody held it."""
    if _DEARER_MODEL.search(model):
        raise InvalidRequestError("this variant of the model needs a key of your own")
    _check_parameters(body, operation)
    _check_tools(body)
    _check_parts(body)


def _check_parameters(body: dict[str, Any], operation: Operation) -> None:
    for name, value in body.items():
        if value is not None and name not in PARAMETERS[operation] and value != _FREE.get(name):
            said = name if _NAME.fullmatch(name) else "this parameter"
            raise InvalidRequestError(f"{said} needs a key of your own: credits pay for tokens only")
    options = body.get("stream_options") or {}
    if not isinstance(options, dict) or options.keys() - _STREAM_OPTIONS:
        raise InvalidRequestError("these stream_options need a key of your own: credits pay for tokens only")
    if not _is_plain(body.get("metadata")):
        raise InvalidRequestError("metadata of other than texts needs a key of your own")


def _is_plain(metadata: object) -> bool:
    """Whether it is what OpenAI knows: gateways are told by lists in it which of their models to call."""
    values = metadata.values() if isinstance(metadata, dict) else (metadata,)
    return metadata is None or all(isinstance(value, str) for value in values)


def _check_tools(body: dict[str, Any]) -> None:
    for tool in objects(body.get("tools")):
        if tool.get("type", "function") not in _TOOLS or tool.keys() - _TOOL_MEMBERS:
            raise InvalidRequestError(
                "tools of the provider's need a key of your own: credits pay for tokens"
            )


def _check_parts(body: dict[str, Any]) -> None:
    if any(item.get("type", "message") not in _ITEMS for item in objects(body.get("input"))):
        raise InvalidRequestError("of the input, all but messages and tool calls needs a key of your own")
    said = list(parts(body))
    if not all(_is_text_or_image(part) for part in said):
        raise InvalidRequestError("in messages, all but texts and images needs a key of your own")
    if any(_is_cached_long(each) for each in (body, *said, *_around(body))):
        raise InvalidRequestError(f"caching for longer than {_CACHE_TTL} needs a key of your own")


def _around(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what gateways read `cache_control` from, beside the parts."""
    for name in ("messages", "input", "tools"):
        for each in objects(body.get(name)):
            yield each
            yield from objects([each.get("function")])


def _is_text_or_image(part: dict[str, Any]) -> bool:
    """Some providers read anything that is sent as an image by what its address says it is."""
    if part.get("file_id") is not None:
        return False
    address = address_of(part["image_url"]) if "image_url" in part else ""
    return part.get("type") in _PARTS and (not is_inline(address) or address[:11].lower() == "data:image/")


def _is_cached_long(holder: dict[str, Any]) -> bool:
    control = holder.get("cache_control")
    return isinstance(control, dict) and control.get("ttl", _CACHE_TTL) != _CACHE_TTL

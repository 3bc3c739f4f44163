"""Reading a provider's answer: a whole `chat.completion`, or one chunk of it."""

from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

from services.inference.domain.generated import Text, number_in, texts_of
from services.inference.domain.refusals import Refusal, refusal_of

_ERRORS: Final = range(400, 600)
_OF_THE_REQUEST: Final = (
    *("context_length_exceeded", "invalid_prompt", "data_residency_mismatch", "bio_policy"),
    *("misalignment_policy_violation", "image_content_policy_violation"),
    *("invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url"),
    *("invalid_image_mode", "image_too_large", "image_too_small", "image_parse_error"),
    *("image_file_too_large", "unsupported_image_media_type", "empty_image_file"),
    *("failed_to_download_image", "image_file_not_found"),
)
_STATUSES: Final = {
    "invalid_api_key": 401,
    "model_not_found": 404,
    "insufficient_quota": 429,
    "rate_limit_exceeded": 429,
    **dict.fromkeys(_OF_THE_REQUEST, 400),
}
"""Of OpenAI's codes, what they have when an answer has not begun.

https://platform.openai.com/docs/api-reference/responses/object
"""
_TEXTS: Final = ("content", "refusal", "reasoning", "reasoning_content")
_ARGUMENTS: Final = ("arguments",)
_REASONING: Final = ("reasoning", "reasoning_content")
_DETAILS: Final = ("text", "summary")


def is_answer(body: object) -> bool:
    """Tell an answer, or a chunk that brings only usage, from something else that happens to be JSON."""
    return isinstance(body, dict) and (isinstance(body.get("choices"), list) or usage_in(body) is not None)


def is_finished(chunk: dict[str, Any]) -> bool:
    return any(choice.get("finish_reason") is not None for choice in _choices(chunk))


def generated(body: dict[str, Any]) -> Iterator[Text]:
    """Yield what the model has generated in it, tool calls' arguments included."""
    for choice in _choices(body):
        index, said = number_in(choice, "index"), choice.get("delta") or choice.get("message")
        if isinstance(said, dict):
            yield from texts_of(index, said, _TEXTS)
            yield from texts_of((index, "function_call"), said.get("function_call"), _ARGUMENTS)
            for call in _objects(said, "tool_calls"):
                yield from texts_of((index, number_in(call, "index")), call.get("function"), _ARGUMENTS)
            for detail in _objects(said, "reasoning_details"):  # OpenRouter's, beside `reasoning`
                again = any(isinstance(said.get(name), str) for name in _REASONING)
                yield from texts_of((index, number_in(detail, "index")), detail, _DETAILS, again=again)


def usage_in(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the usage object; Groq's streams may have it under a name of their own."""
    own = body.get("x_groq")
    usage = body.get("usage") or (own.get("usage") if isinstance(own, dict) else None)
    return usage if isinstance(usage, dict) else None


def refusal_in(body: object) -> Refusal | None:
    """Return the error that came under HTTP 200, as OpenRouter sends it when a model fails midway."""
    error = body.get("error") if isinstance(body, dict) else None
    if not error:
        return None
    code = error.get("code") if isinstance(error, dict) else None
    known = _STATUSES.get(code) if isinstance(code, str) else code
    status = known if isinstance(known, int) and known in _ERRORS else HTTPStatus.BAD_GATEWAY.value
    return refusal_of(status, body)


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    return _objects(body, "choices")


def _objects(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    if not isinstance(found := holder.get(name), list):
        return []
    return [one for one in found if isinstance(one, dict)]

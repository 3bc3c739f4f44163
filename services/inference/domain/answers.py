"""Reading a provider's answer: a whole `chat.completion`, or one chunk of it."""

from http import HTTPStatus
from typing import Any, Final

from services.inference.domain.refusals import Refusal, refusal_of

_ERRORS: Final = range(400, 600)
_TEXTS: Final = ("content", "refusal", "reasoning", "reasoning_content")


def is_answer(body: object) -> bool:
    """Tell an answer, or a chunk that brings only usage, from something else that happens to be JSON."""
    return isinstance(body, dict) and (isinstance(body.get("choices"), list) or usage_in(body) is not None)


def is_finished(chunk: dict[str, Any]) -> bool:
    return any(choice.get("finish_reason") is not None for choice in _choices(chunk))


def generated_chars(body: dict[str, Any]) -> int:
    """Return how many characters the model has generated in it, tool calls' arguments included."""
    return sum(_chars(choice.get("delta") or choice.get("message")) for choice in _choices(body))


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
    status = code if isinstance(code, int) and code in _ERRORS else HTTPStatus.BAD_GATEWAY.value
    return refusal_of(status, body)


def _choices(body: dict[str, Any]) -> list[dict[str, Any]]:
    return [choice for choice in body.get("choices") or () if isinstance(choice, dict)]


def _chars(said: object) -> int:
    if not isinstance(said, dict):
        return 0
    texts = [said.get(name) for name in _TEXTS]
    texts += [_arguments(call) for call in said.get("tool_calls") or ()]
    return sum(len(text) for text in texts if isinstance(text, str))


def _arguments(call: object) -> object:
    function = call.get("function") if isinstance(call, dict) else None
    return function.get("arguments") if isinstance(function, dict) else None

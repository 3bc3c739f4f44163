"""Reading OpenAI's Responses: a whole `response`, or one event of its stream.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from http import HTTPStatus
from typing import Any, Final

from services.inference.domain import answers
from services.inference.domain.refusals import Refusal, refusal_of

_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_GENERATED: Final = (
    "response.output_text.delta",
    "response.refusal.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
)
_TEXTS: Final = ("text", "refusal", "arguments", "input")


def is_answer(body: object) -> bool:
    """Tell a response, or an event of one, from something else that happens to be JSON."""
    if not isinstance(body, dict):
        return False
    return isinstance(body.get("output"), list) or isinstance(body.get("type"), str)


def is_finished(event: dict[str, Any]) -> bool:
    return event.get("type") in _ENDS


def generated_chars(body: dict[str, Any]) -> int:
    """Return how many characters the model has generated in it."""
    if body.get("type") in _GENERATED:
        delta = body.get("delta")
        return len(delta) if isinstance(delta, str) else 0
    output = body.get("output")
    return sum(map(_chars, output)) if isinstance(output, list) else 0


def usage_in(body: dict[str, Any]) -> dict[str, Any] | None:
    usage = _response(body).get("usage")
    return usage if isinstance(usage, dict) else None


def refusal_in(body: object) -> Refusal | None:
    """Return the error that came under HTTP 200: an `error` event, or a response that failed."""
    if not isinstance(body, dict):
        return None
    if body.get("type") == "error":
        told = body if "error" in body else {"error": body}
        return refusal_of(HTTPStatus.BAD_GATEWAY.value, told)
    return answers.refusal_in(_response(body))


def _response(body: dict[str, Any]) -> dict[str, Any]:
    """Return the response itself: events of its life hold it."""
    inner = body.get("response")
    return inner if isinstance(inner, dict) else body


def _chars(item: object) -> int:
    if not isinstance(item, dict):
        return 0
    parts = [item, *(part for part in item.get("content") or () if isinstance(part, dict))]
    texts = [part.get(name) for part in parts for name in _TEXTS]
    return sum(len(text) for text in texts if isinstance(text, str))

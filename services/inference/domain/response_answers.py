"""Reading OpenAI's Responses: a whole `response`, or one event of its stream.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Iterator
from typing import Any, Final

from services.inference.domain import answers
from services.inference.domain.generated import Text, number_in, texts_of
from services.inference.domain.refusals import Refusal

_ENDS: Final = ("response.completed", "response.incomplete", "response.failed")
_GENERATED: Final = (
    "response.output_text.delta",
    "response.refusal.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.mcp_call_arguments.delta",
    "response.code_interpreter_call_code.delta",
    "response.reasoning_text.delta",
    "response.reasoning_summary_text.delta",
)
_TEXTS: Final = ("text", "refusal", "arguments", "input")
_DELTA: Final = ("delta",)
_INDEXES: Final = ("output_index", "content_index", "summary_index")


def is_answer(body: object) -> bool:
    """Tell a response, or an event of one, from something else that happens to be JSON."""
    if not isinstance(body, dict):
        return False
    return isinstance(body.get("output"), list) or isinstance(body.get("type"), str)


def is_finished(event: dict[str, Any]) -> bool:
    return event.get("type") in _ENDS


def generated(body: dict[str, Any]) -> Iterator[Text]:
    """Yield what the model has generated in it."""
    if (kind := body.get("type")) in _GENERATED:
        place = (kind, *(number_in(body, name) for name in _INDEXES))
        yield from texts_of(place, body, _DELTA)
        return
    output = body.get("output")
    for item in output if isinstance(output, list) else ():
        if isinstance(item, dict):
            for part in (item, *(item.get("content") or ())):
                yield from texts_of(id(part), part, _TEXTS)


def usage_in(body: dict[str, Any]) -> dict[str, Any] | None:
    usage = _response(body).get("usage")
    return usage if isinstance(usage, dict) else None


def refusal_in(body: object) -> Refusal | None:
    """Return the error that came under HTTP 200: an `error` event, or a response that failed."""
    if not isinstance(body, dict):
        return None
    if body.get("type") == "error":
        return answers.refusal_in(body if body.get("error") else {"error": body})
    return answers.refusal_in(_response(body))


def _response(body: dict[str, Any]) -> dict[str, Any]:
    """Return the response itself: events of its life hold it."""
    inner = body.get("response")
    return inner if isinstance(inner, dict) else body

"""What of a Response, or of an event of one, the runs API tells.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Mapping
from typing import Any, Final

_ENDS: Final = ("response.completed", "response.incomplete")
_TEXT: Final = "response.output_text.delta"
_ITEM_DONE: Final = "response.output_item.done"


def is_response_event(body: Mapping[str, Any]) -> bool:
    kind = body.get("type")
    return isinstance(kind, str) and kind.startswith("response.")


def ended_response(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the whole response of the last event; None of any other."""
    response = event.get("response")
    return response if event["type"] in _ENDS and isinstance(response, dict) else None


def piece_of(event: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the text that an event brings; what is no text is told as the provider tells it."""
    kind, delta = event["type"], event.get("delta")
    if kind == _TEXT:
        return {"chunk": delta} if delta and isinstance(delta, str) else None
    if kind.endswith(".delta") or (kind == _ITEM_DONE and not _is_message(event.get("item"))):
        return {"chunk": "", "event": event}
    return None


def text_of(response: Mapping[str, Any]) -> str:
    """Return all that was said in it."""
    parts = [part for item in _objects(response.get("output")) for part in _objects(item.get("content"))]
    texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
    return "".join(text for text in texts if isinstance(text, str))


def reason_of(response: Mapping[str, Any]) -> str | None:
    """Return why it ended: `completed`, or why it is incomplete."""
    details = response.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    told = reason or response.get("status")
    return told if isinstance(told, str) else None


def _is_message(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") == "message"


def _objects(value: object) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []

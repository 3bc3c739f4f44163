"""A Response, made of what was asked for and of a chat's answer.

https://platform.openai.com/docs/api-reference/responses/object
"""

from typing import Any, Final

from services.inference.domain.provider_usage import measured_tokens

Body = dict[str, Any]

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_ECHOED: Final = (
    *("instructions", "max_output_tokens", "temperature", "top_p", "user", "prompt_cache_key"),
    *("safety_identifier", "service_tier"),
)


def empty_response(response_id: str, asked: Body, *, model: str, created_at: int) -> Body:
    """Return a response that is under way."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_at,
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "model": model,
        "output": [],
        "parallel_tool_calls": _or(asked, "parallel_tool_calls", default=True),
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None, **_or(asked, "reasoning", default={})},
        "store": False,
        "text": {"format": {"type": "text"}, **_or(asked, "text", default={})},
        "tool_choice": _or(asked, "tool_choice", default="auto"),
        "tools": _or(asked, "tools", default=[]),
        "truncation": "disabled",
        "metadata": _or(asked, "metadata", default={}),
        "usage": None,
        **{name: asked.get(name) for name in _ECHOED},
    }


def ended(response: Body, output: list[Body], finish_reason: str | None, usage: Body | None) -> Body:
    """Return it as it ended: `completed`, or `incomplete` with the reason."""
    reason = _INCOMPLETE.get(finish_reason or "")
    return {
        **response,
        "status": status_of(finish_reason),
        "incomplete_details": {"reason": reason} if reason else None,
        "output": output,
        "usage": _usage(usage),
    }


def status_of(finish_reason: str | None) -> str:
    return "incomplete" if finish_reason in _INCOMPLETE else "completed"


def _usage(usage: Body | None) -> Body | None:
    tokens = measured_tokens(usage) if usage else None
    if tokens is None:
        return None
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.cache_write,
        },
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.completion,
    }


def _or(asked: Body, name: str, *, default: Any) -> Any:
    value = asked.get(name)
    return default if value is None else value

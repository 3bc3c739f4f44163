"""A Responses request as the chat that asks for the same. What no chat can ask for is refused.

https://platform.openai.com/docs/guides/migrate-to-responses
"""

from typing import Any, Final

from services.inference.domain.input_messages import messages_of
from services.inference.domain.unmappable import objects, unmappable

Body = dict[str, Any]

_READ: Final = (
    *("input", "instructions", "tools", "tool_choice", "text", "max_output_tokens", "reasoning"),
    *("metadata", "store", "background", "truncation", "include", "stream_options"),
)
_REFUSED: Final = (
    *("previous_response_id", "conversation", "prompt", "context_management"),  # what lies at the provider
    *("max_tool_calls", "top_logprobs", "moderation"),
    *("messages", "n", "response_format"),  # a chat's own: what is asked for here would be lost in them
)
_WITHOUT_EFFECT: Final[dict[str, tuple[object, ...]]] = {
    "store": (False,),
    "background": (False,),
    "truncation": ("disabled",),
    "include": ([],),
    "stream_options": ({}, {"include_obfuscation": False}),
}
"""What may be said of these, for it asks for nothing."""
_FUNCTION: Final = ("name", "description", "parameters", "strict")
_FORMAT: Final = ("name", "description", "schema", "strict")
_CHOICES: Final = ("auto", "none", "required")


def chat_of(body: Body, limit_parameter: str) -> Body:
    """Return the chat's parameters; what is not known here goes along as it is, as it does with chats.

    `limit_parameter`: what the provider calls the most tokens of a completion. Raises InvalidRequestError.
    """
    given = {name: value for name, value in body.items() if value is not None}
    _check(given)
    chat = {name: value for name, value in given.items() if name not in _READ}
    chat["messages"] = messages_of(given.get("instructions"), given.get("input"))
    if "max_output_tokens" in given:
        chat[limit_parameter] = given["max_output_tokens"]
    if "tools" in given:
        chat["tools"] = [_tool(tool) for tool in objects(given["tools"], "tools")]
    if "tool_choice" in given:
        chat["tool_choice"] = _tool_choice(given["tool_choice"])
    return chat | _text(given.get("text", {})) | _reasoning(given.get("reasoning", {}))


def _check(given: Body) -> None:
    for name in _REFUSED:
        if name in given:
            raise unmappable(name)
    for name, harmless in _WITHOUT_EFFECT.items():
        if name in given and given[name] not in harmless:
            raise unmappable(name)


def _tool(tool: Body) -> Body:
    if tool.get("type") != "function":
        raise unmappable("a tool that is no function")
    return {"type": "function", "function": _some(tool, _FUNCTION)}


def _tool_choice(choice: object) -> object:
    if choice in _CHOICES:
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": _some(choice, ("name",))}
    raise unmappable("this tool_choice")


def _text(text: object) -> Body:
    if not isinstance(text, dict) or text.keys() - {"format", "verbosity"}:
        raise unmappable("this text")
    form = text.get("format") or {"type": "text"}
    return _some(text, ("verbosity",)) | _response_format(form)


def _response_format(form: object) -> Body:
    kind = form.get("type") if isinstance(form, dict) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": kind}}
    if not isinstance(form, dict) or kind != "json_schema":
        raise unmappable("this text.format")
    return {"response_format": {"type": kind, "json_schema": _some(form, _FORMAT)}}


def _reasoning(reasoning: object) -> Body:
    asked = reasoning if isinstance(reasoning, dict) else {"reasoning": reasoning}
    if any(value is not None for name, value in asked.items() if name != "effort"):
        raise unmappable("reasoning, but for its effort,")
    effort = asked.get("effort")
    return {} if effort is None else {"reasoning_effort": effort}


def _some(whole: Body, names: tuple[str, ...]) -> Body:
    return {name: whole[name] for name in names if whole.get(name) is not None}

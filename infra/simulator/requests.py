"""What a chat completion request asks, read from OpenAI's body."""

from dataclasses import dataclass

import orjson

from infra.simulator.directives import Directives, UnknownDirectiveError, parse_directives
from infra.simulator.refusals import RefusalError, no_such_model


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request; `tokens_max` is None when the caller gave no limit."""

    model: str
    prompt: str
    prompt_tokens: int
    stream: bool
    include_usage: bool
    tokens_max: int | None
    directives: Directives
    tool: tuple[str, tuple[str, ...]] | None = None
    """The first tool's name, and its required parameters."""


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def _body(raw: bytes) -> dict[str, object]:
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise RefusalError(400, "We could not parse the JSON body of your request.")
    return body


def _model(body: dict[str, object]) -> str:
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise RefusalError(400, "you must provide a model parameter")
    if "no-such" in model:
        raise no_such_model(model)
    return model


def _messages(body: dict[str, object]) -> list[dict[str, object]]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise RefusalError(
            400,
            "Missing required parameter: 'messages'.",
            param="messages",
            code="missing_required_parameter",
        )
    if not messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1."
        raise RefusalError(400, message, param="messages", code="empty_array")
    return messages


def _tokens_max(body: dict[str, object]) -> int | None:
    for name in ("max_completion_tokens", "max_tokens"):
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            message = f"Invalid '{name}': expected an integer of at least 1."
            raise RefusalError(400, message, param=name, code="integer_below_min_value")
        return value
    return None


def _include_usage(body: dict[str, object]) -> bool:
    options = body.get("stream_options")
    if options is None:
        return False
    if body.get("stream") is not True:
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        raise RefusalError(400, message, param="stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _tool(body: dict[str, object]) -> tuple[str, tuple[str, ...]] | None:
    tools = body.get("tools")
    first = tools[0] if isinstance(tools, list) and tools else None
    function = first.get("function") if isinstance(first, dict) else None
    if not isinstance(function, dict):
        return None
    required = (function.get("parameters") or {}).get("required") or ()
    return str(function.get("name")), tuple(map(str, required))


def _directives(prompt: str) -> Directives:
    try:
        return parse_directives(prompt)
    except UnknownDirectiveError as error:
        raise RefusalError(400, str(error), code="unknown_directive") from None


def parse_responses(raw: bytes) -> ChatRequest:
    """Read a body of the Responses endpoint, as the chat that it comes to."""
    body = _body(raw)
    asked = body.get("input")
    spoken = [{"role": "user", "content": asked}] if isinstance(asked, str) else asked
    limit = body.get("max_output_tokens")
    chat = {"model": body.get("model"), "messages": spoken, "stream": body.get("stream"), "max_tokens": limit}
    return parse_chat(orjson.dumps(chat))


def parse_embeddings(raw: bytes) -> list[str]:
    """Read the inputs. Raises RefusalError with what OpenAI would answer."""
    body = _body(raw)
    _model(body)
    asked = body.get("input")
    if isinstance(asked, str):
        return [asked]
    if not isinstance(asked, list) or not asked:
        raise RefusalError(400, "'input' is a required property", param="input")
    return [text if isinstance(text, str) else str(text) for text in asked]


def _last_user_text(messages: list[dict[str, object]]) -> str:
    spoken = (message for message in reversed(messages) if message.get("role") == "user")
    return _text(next(spoken, {}).get("content"))


def parse_chat(raw: bytes) -> ChatRequest:
    """Read a body. Raises RefusalError with what OpenAI would answer."""
    body = _body(raw)
    model, messages = _model(body), _messages(body)
    prompt = _last_user_text(messages)
    return ChatRequest(
        model=model,
        prompt=prompt,
        prompt_tokens=3 + sum(3 + len(_text(message.get("content")).split()) for message in messages),
        stream=body.get("stream") is True,
        include_usage=_include_usage(body),
        tokens_max=_tokens_max(body),
        directives=_directives(prompt),
        tool=_tool(body),
    )

"""`langchain-openai`. Says in one line of JSON what came of each way to use it."""

import json
import os

import openai
from langchain_core.messages import AIMessageChunk
from langchain_openai import ChatOpenAI


def chat(model: str = "openai/gpt-4o-mini", **headers: str) -> ChatOpenAI:
    return ChatOpenAI(
        model=model,
        base_url=os.environ["LATCHKEY_URL"] + "/v1",
        api_key=os.environ["LATCHKEY_USER_TOKEN"],
        max_retries=0,
        stream_usage=True,
        default_headers=headers or None,
    )


def weather(city: str) -> str:
    """The weather in a city."""
    return f"fine in {city}"


def called(message) -> dict:
    call = message.tool_calls[0]
    return {"name": call["name"], "arguments": call["args"]}


def whole(pieces) -> AIMessageChunk:
    first, *rest = pieces
    for piece in rest:
        first += piece
    return first


plain = chat().invoke("Hello there")
streamed = whole(chat().stream("Hello again there"))
with_tools = chat().bind_tools([weather])
try:
    chat("anthropic/claude-haiku-4-5", **{"Latchkey-Flow": "solver"}).invoke("Hello")
except openai.APIStatusError as raised:
    error = {"status": raised.status_code, "code": raised.code}

print(
    json.dumps(
        {
            "plain": plain.content,
            "streamed": streamed.content,
            "has_usage": plain.usage_metadata["total_tokens"] > 0 < streamed.usage_metadata["total_tokens"],
            "tool": called(with_tools.invoke("[simulate call_tool] Rome")),
            "streamed_tool": called(whole(with_tools.stream("[simulate call_tool] Paris"))),
            "error": error,
        }
    )
)

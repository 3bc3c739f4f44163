"""`litellm` as a client. Says in one line of JSON what came of each way to use it."""

import json
import os

import litellm

litellm.telemetry = False
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
                "required": ["city"],
            },
        },
    }
]


def ask(content: str, model: str = "openai/gpt-4o-mini", **more):
    return litellm.completion(
        model=f"openai/{model}",
        api_base=os.environ["LATCHKEY_URL"] + "/v1",
        api_key=os.environ["LATCHKEY_USER_TOKEN"],
        messages=[{"role": "user", "content": content}],
        max_retries=0,
        num_retries=0,
        **more,
    )


def streamed(content: str, **more):
    pieces = list(ask(content, stream=True, stream_options={"include_usage": True}, **more))
    return litellm.stream_chunk_builder(pieces)


def called(answer) -> dict:
    function = answer.choices[0].message.tool_calls[0].function
    return {"name": function.name, "arguments": json.loads(function.arguments)}


plain, stream = ask("Hello there"), streamed("Hello again there")
try:
    ask("Hello", "anthropic/claude-haiku-4-5", extra_headers={"Latchkey-Flow": "solver"})
except Exception as raised:  # noqa: BLE001 - litellm has a class of its own for each status
    error = {"status": raised.status_code, "code": raised.response.json()["error"]["code"]}

print(
    json.dumps(
        {
            "plain": plain.choices[0].message.content,
            "streamed": stream.choices[0].message.content,
            "has_usage": plain.usage.total_tokens > 0 < stream.usage.total_tokens,
            "tool": called(ask("[simulate call_tool] Rome", tools=TOOLS)),
            "streamed_tool": called(streamed("[simulate call_tool] Paris", tools=TOOLS)),
            "error": error,
        }
    )
)

"""A Responses request as a chat's."""

from typing import Any

import pytest

from services.inference.domain.responses_as_chat import chat_of
from shared.kernel.errors import InvalidRequestError

pytestmark = pytest.mark.unit

LOOK_UP = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": True}
SCHEMA = {"type": "json_schema", "name": "answer", "schema": {"type": "object"}, "strict": True}


def chat(**body: Any) -> dict[str, Any]:
    return chat_of({"input": "Hello", **body}, "max_tokens")


def messages(*items: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = chat(input=list(items))["messages"]
    return found


def test_a_text_is_what_the_user_says_after_the_instructions() -> None:
    assert chat(instructions="Be short.", model=None) == {
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hello"}]
    }


def test_messages_keep_their_roles_texts_and_images() -> None:
    image = {"type": "input_image", "image_url": "https://a/b.png", "detail": "low"}
    text = {"type": "input_text", "text": "What is it?", "cache_control": {"type": "ephemeral"}}
    assert messages(
        {"role": "developer", "content": "Be short."},
        {"type": "message", "role": "user", "content": [text, image]},
        {
            "role": "assistant",
            "content": [{"type": "output_text", "text": "A "}, {"type": "refusal", "refusal": "no"}],
        },
    ) == [
        {"role": "system", "content": "Be short."},
        {
            "role": "user",
            "content": [
                {**text, "type": "text"},
                {"type": "image_url", "image_url": {"url": "https://a/b.png", "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": "A no"},
    ]


def test_calls_that_follow_one_another_are_one_message_and_their_outputs_a_tools() -> None:
    signed = {"google": {"thought_signature": "abc"}}
    told = messages(
        {"role": "user", "content": "Look up a and b."},
        {"type": "reasoning", "summary": []},
        {"role": "assistant", "content": "I do."},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}", "extra_content": signed},
        {"type": "function_call", "call_id": "2", "name": "f", "arguments": "[]", "status": "completed"},
        {"type": "function_call_output", "call_id": "1", "output": "A"},
        {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "B"}]},
        {"type": "function_call", "call_id": "3", "name": "g", "arguments": "{}"},
    )
    first = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    second = {"id": "2", "type": "function", "function": {"name": "f", "arguments": "[]"}}
    third = {"id": "3", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    assert told[1:] == [
        {"role": "assistant", "content": "I do.", "tool_calls": [{**first, "extra_content": signed}, second]},
        {"role": "tool", "tool_call_id": "1", "content": "A"},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "text", "text": "B"}]},
        {"role": "assistant", "content": None, "tool_calls": [third]},
    ]


def test_functions_and_how_they_are_chosen() -> None:
    function = {"name": "look_up", "parameters": {"type": "object"}, "strict": True}
    asked = chat(tools=[{**LOOK_UP, "description": None}], tool_choice="required", parallel_tool_calls=False)
    assert asked["tools"] == [{"type": "function", "function": function}]
    assert (asked["tool_choice"], asked["parallel_tool_calls"]) == ("required", False)
    named = chat(tools=[LOOK_UP], tool_choice={"type": "function", "name": "look_up"})
    assert named["tool_choice"] == {"type": "function", "function": {"name": "look_up"}}


def test_the_form_of_the_answer() -> None:
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    asked = chat(text={"format": SCHEMA, "verbosity": "low"})
    assert asked["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert asked["verbosity"] == "low"
    assert chat(text={"format": {"type": "json_object"}})["response_format"] == {"type": "json_object"}
    assert "response_format" not in chat(text={"format": {"type": "text"}})


def test_numbers_limits_and_what_is_not_known_here() -> None:
    asked = chat(
        max_output_tokens=9,
        temperature=0,
        top_p=0.5,
        reasoning={"effort": "low"},
        thinking={"type": "enabled"},
    )
    asked.pop("messages")
    assert asked == {
        "max_tokens": 9,
        "temperature": 0,
        "top_p": 0.5,
        "reasoning_effort": "low",
        "thinking": {"type": "enabled"},
    }


def test_what_asks_for_nothing_is_no_obstacle() -> None:
    plain = chat()
    assert plain == chat(
        store=False,
        background=False,
        truncation="disabled",
        include=[],
        previous_response_id=None,
        metadata={"a": "b"},
        stream_options={"include_obfuscation": False},
        reasoning={"effort": None, "summary": None},
    )


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"background": True}, "background"),
        ({"store": True}, "store"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["reasoning.encrypted_content"]}, "include"),
        ({"max_tool_calls": 3}, "max_tool_calls"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"n": 2}, "n "),
        ({"messages": []}, "messages"),
        ({"tools": [{"type": "web_search"}]}, "tool"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tool"),
        ({"tools": "x"}, "tools"),
        ({"tool_choice": {"type": "web_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format"),
        ({"text": "x"}, "text"),
        ({"text": {"format": "x"}}, "text.format"),
        ({"reasoning": {"summary": "auto"}}, "reasoning"),
        ({"reasoning": "high"}, "reasoning"),
        ({"instructions": [{}]}, "instructions"),
        ({"input": None}, "input"),
        ({"input": ["a"]}, "input"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input"),
        ({"input": [{"type": "web_search_call"}]}, "input"),
        ({"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}, "input"),
        ({"input": [{"role": "tool", "content": "x"}]}, "role"),
        ({"input": [{"role": [], "content": "x"}]}, "role"),
        ({"input": [{"role": "user", "content": None}]}, "content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "part"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]}, "part"),
        ({"input": [{"role": "user", "content": [{"type": []}]}]}, "part"),
        ({"input": [{"role": "assistant", "content": [{"type": "input_text", "text": "x"}]}]}, "assistant"),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_image"}]}]}, "part"),
    ],
)
def test_what_no_chat_can_ask_for_is_refused_by_name(body: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        chat(**body)
    assert said in refused.value.message

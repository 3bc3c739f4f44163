"""What credits pay for, and what needs a key of one's own."""

import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from services.inference.domain.priceable import PARAMETERS, check_priceable
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import Operation

pytestmark = pytest.mark.unit


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


@pytest.mark.parametrize(
    "extra",
    [
        *({"stream_options": {"model": "dear"}}, {"stream_options": "x"}, {"stream_options": 5}),
        *({"service_tier": "priority"}, {"service_tier": "default"}),
        *({"fallbacks": ["gpt-5-pro"]}, {"mock_testing_fallbacks": True}, {"mock_response": "x"}),
        *({"providerOptions": {"gateway": {"models": ["openai/gpt-5-pro"]}}}, {"caching": False}),
        *({"search_parameters": {"mode": "on"}}, {"search_settings": {}}, {"compound_custom": {}}),
        *({"best_of": 9}, {"prediction": {"type": "content", "content": "x"}}, {"deferred": True}),
        *({"max_output_tokens": 1}, {"guardrails": []}, {"api_base": "https://example.com"}),
        *({"metadata": {"tags": ["dear"]}}, {"metadata": ["dear"]}),
        *({"tools": [{"googleSearch": {}}]}, {"tools": [{"type": "function", "url_context": {}}]}),
        {"tools": [{"function": {"cache_control": {"type": "ephemeral", "ttl": "1h"}}}]},
        {"messages": [{"content": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"models": ["anthropic/claude-opus-4"]},
        {"plugins": [{"id": "web"}]},
        {"web_search_options": {}},
        {"modalities": ["text", "audio"]},
        {"tools": [{"type": "function"}, {"type": "web_search"}]},
        {"tools": [{"type": "function", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}},
        user([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral", "ttl": "1h"}}]),
        user([{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}}]),
        user([{"input_audio": {"data": "AAAA", "format": "mp3"}}]),
        user([{"type": "file", "file": {"file_data": "https://example.com/book.pdf"}}]),
        user([{"type": "text", "text": "hi"}, {"type": "video_url", "video_url": {"url": "https://v"}}]),
        user([{"type": "image_url", "image_url": {"url": "data:audio/mp3;base64,AAAA"}}]),
        user([{"type": "image_url", "image_url": "DATA:application/pdf;base64,AAAA"}]),
    ],
)
def test_what_tokens_do_not_pay_for_is_no_matter_of_credits(extra: dict[str, object]) -> None:
    with pytest.raises(InvalidRequestError):
        check_priceable("openai/gpt-4o", {**user("hi"), **extra})


@pytest.mark.parametrize(
    "extra",
    [
        *({}, {"temperature": 1, "service_tier": None}, {"tools": [{"type": "function"}]}, {"tools": "x"}),
        user([{"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}}]),
        user([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}]),
        user([{"type": "image_url", "image_url": "https://example.com/cat.png"}]),
        *({"messages": []}, user(["x"]), user(None), {"cache_control": "x"}, {"fallbacks": None}),
        *({"metadata": {"a": "b"}, "user": "u", "store": True}, {"reasoning": {"effort": "low"}}),
        *({"reasoning_effort": "high", "verbosity": "low"}, {"thinking": {"type": "enabled"}}, {"seed": 1}),
        *({"logit_bias": {}, "logprobs": True, "stop": ["x"]}, {"top_k": 1, "min_p": 0.1}),
        {"response_format": {"type": "json_object"}, "parallel_tool_calls": False, "tool_choice": "auto"},
        *(
            {"modalities": ["text"]},
            {"stream_options": {"include_usage": True, "include_obfuscation": False}},
        ),
        {"max_tokens": 5, "max_completion_tokens": 5, "n": 2, "functions": [], "function_call": "auto"},
    ],
)
def test_other_parameters_are_paid_for_with_tokens(extra: dict[str, object]) -> None:
    check_priceable("openai/gpt-4o", {**user("hi"), **extra})


@pytest.mark.parametrize(
    "model",
    [
        "anthropic/claude-3-5-sonnet:online",
        "openrouter/anthropic/claude-3-5-sonnet:nitro:online",
        "openai/gpt-4o:EXTENDED",
        "openai/gpt-4o@preset/ours",
        "openrouter/@preset/ours",
    ],
)
def test_a_variant_that_tokens_do_not_pay_for_is_no_matter_of_credits(model: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_priceable(model, user("hi"))


@pytest.mark.parametrize(
    "model",
    ["openai/gpt-4o", "openrouter/x/y:free", "openrouter/x/y:onlineish", "anthropic/claude-3-5@20240620"],
)
def test_other_models_are_paid_for_with_tokens(model: str) -> None:
    check_priceable(model, user("hi"))


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        (Operation.RESPONSES, {"instructions": "x", "text": {}, "truncation": "auto", "include": []}),
        (
            Operation.RESPONSES,
            {"max_output_tokens": 5, "max_tool_calls": 1, "reasoning": {"summary": "auto"}},
        ),
        (Operation.RESPONSES, {"thinking": {"type": "enabled"}, "stream_options": {}, "top_p": 0.5}),
        (Operation.EMBEDDINGS, {"dimensions": 5, "encoding_format": "base64", "user": "u"}),
    ],
)
def test_each_endpoint_has_its_parameters(operation: Operation, body: dict[str, Any]) -> None:
    check_priceable("openai/m", {"input": "x", **body}, operation)


@pytest.mark.parametrize(
    ("operation", "name"),
    [
        *((Operation.RESPONSES, name) for name in ("max_tokens", "max_completion_tokens", "n", "messages")),
        *((Operation.CHAT, name) for name in ("max_output_tokens", "input", "prompt")),
        *((Operation.EMBEDDINGS, name) for name in ("max_tokens", "providerOptions", "messages")),
    ],
)
def test_what_belongs_to_another_endpoint_is_refused_by_name(operation: Operation, name: str) -> None:
    """Its limit would be held, and overlooked where it goes."""
    with pytest.raises(InvalidRequestError, match=f"^{name} needs a key of your own"):
        check_priceable("openai/m", {name: 1}, operation)


@pytest.mark.parametrize("name", ["x" * 65, "sk-key in a name", "a\nb", ""])
def test_what_is_no_name_is_not_repeated(name: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^this parameter needs a key"):
        check_priceable("openai/m", {name: 1})


def test_the_documented_parameters_are_those_that_are_taken() -> None:
    page = (Path(__file__).parents[3] / "docs" / "openai-clients.md").read_text()
    section = page.partition("## What credits pay for")[2].partition("\n## ")[0]
    named = set(re.findall(r"`(\w+)`", "".join(line for line in section.splitlines() if line[:1] == "|")))
    assert named - {"stream"} == set(chain.from_iterable(PARAMETERS.values()))

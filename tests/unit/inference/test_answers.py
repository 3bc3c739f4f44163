"""Reading answers, usage and cost."""

from typing import Any

import pytest

from services.inference.domain.answers import generated, is_answer, is_finished, refusal_in, usage_in
from services.inference.domain.generated import chars_in
from services.inference.domain.provider_usage import keepable, measured_tokens, provider_cost_usd
from shared.contracts.usage import TokenCounts
from shared.kernel.names import TokensSource

pytestmark = pytest.mark.unit


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


def counts(
    prompt: int, completion: int, cached: int = 0, reasoning: int = 0, written: int = 0
) -> TokenCounts:
    return TokenCounts(
        prompt=prompt,
        completion=completion,
        cached=cached,
        reasoning=reasoning,
        cache_write=written,
        source=TokensSource.MEASURED,
    )


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}, counts(7, 5)),
        ({"prompt_tokens": 7, "completion_tokens": 0}, counts(7, 0)),
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4},
                "completion_tokens_details": {"reasoning_tokens": 2},
            },
            counts(7, 5, 4, 2),
        ),
        # xAI and Gemini: reasoning only shows in the total.
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 5,
                "total_tokens": 42,
                "completion_tokens_details": {"reasoning_tokens": 30},
            },
            counts(7, 35, 0, 30),
        ),
        # OpenRouter: https://openrouter.ai/docs/use-cases/usage-accounting
        (
            {
                "completion_tokens": 2,
                "completion_tokens_details": {"reasoning_tokens": 0},
                "cost": 0.95,
                "cost_details": {"upstream_inference_cost": 19},
                "prompt_tokens": 194,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 100, "audio_tokens": 0},
                "total_tokens": 196,
            },
            counts(194, 2, written=100),
        ),
        # LiteLLM in front of Anthropic says it twice: https://docs.litellm.ai/docs/completion/prompt_caching
        (
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "total_tokens": 2306,
                "prompt_tokens_details": {"cached_tokens": 1920, "cache_creation_tokens": 50},
                "cache_creation_input_tokens": 50,
                "cache_read_input_tokens": 1920,
            },
            counts(2006, 300, 1920, written=50),
        ),
        # Portkey in front of Anthropic: beside the prompt's tokens, as Anthropic counts, and in the total.
        (
            {
                "prompt_tokens": 21,
                "completion_tokens": 393,
                "total_tokens": 188_500,
                "cache_creation_input_tokens": 188_000,
                "cache_read_input_tokens": 86,
            },
            counts(188_107, 393, 86, written=188_000),
        ),
        # DeepSeek: https://api-docs.deepseek.com/guides/kv_cache
        (
            {
                "prompt_tokens": 70,
                "completion_tokens": 5,
                "total_tokens": 75,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 6,
            },
            counts(70, 5, 64),
        ),
        # What does not fit is cut to fit.
        (
            {
                "prompt_tokens": 7,
                "completion_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 9},
            },
            counts(7, 5, 4, written=3),
        ),
        (
            {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}},
            counts(7, 5, 7),
        ),
        ({"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": None}, counts(7, 5)),
        ({"prompt_tokens": 7}, None),
        ({"prompt_tokens": "7", "completion_tokens": 5}, None),
        ({"prompt_tokens": -1, "completion_tokens": 5}, None),
        ({"prompt_tokens": 2**63, "completion_tokens": 5}, None),
        ({"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 10**15}, counts(7, 5)),
        ({}, None),
    ],
)
def test_tokens(usage: dict[str, Any], expected: TokenCounts | None) -> None:
    assert measured_tokens(usage) == expected


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({}, None),
        ({"cost": 0.00012}, "0.00012"),
        ({"cost": 1e-7}, "0.0000001"),
        ({"cost": 0}, "0"),
        ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.002}}, "0.002"),
        ({"cost": 0.5, "cost_details": {"upstream_inference_cost": 0.002}}, "0.5"),
        ({"cost": None, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": "NaN"}, None),
        ({"cost": "sNaN"}, None),
        ({"cost": -1}, None),
        ({"cost": True}, None),
        # Written out, these would fill the memory.
        ({"cost": "1e999999999"}, None),
        ({"cost": "1e-999999999"}, None),
        ({"cost": "0e999999999"}, "0"),
        ({"cost": "0." + "1" * 10_000}, None),
    ],
)
def test_the_providers_own_cost(usage: dict[str, Any], expected: str | None) -> None:
    assert provider_cost_usd(usage) == expected


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1, "note": "a\0b"},
        {"prompt_tokens": 1, "note": "x" * 10_000},
        {"prompt_tokens": 1, "note": [[]] * 100},
        nested(400),
    ],
)
def test_a_usage_object_that_is_no_list_of_counts_is_not_kept(usage: dict[str, Any]) -> None:
    assert keepable(usage) is None


def test_a_usual_usage_object_is_kept_as_it_came() -> None:
    usage = {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 0}, "service_tier": "default"}

    assert keepable(usage) is usage
    assert keepable(None) is None


def test_generated_text_is_counted_wherever_it_is() -> None:
    calls = [{"function": {"name": "f", "arguments": "12345"}}, {"function": None}, None]
    delta = {"content": "abc", "reasoning": "de", "refusal": None, "tool_calls": calls}
    body = {"choices": [{"delta": delta}, {"message": {"content": "fg"}}, None]}

    assert chars_in(generated(body)) == 12


@pytest.mark.parametrize(
    ("said", "chars"),
    [
        ({"reasoning": "ab", "reasoning_details": [{"text": "ab"}, {"summary": "ab"}]}, 2),
        ({"reasoning": None, "reasoning_details": [{"text": "ab"}, {"summary": "c"}, {"data": "x"}, 1]}, 3),
        ({"function_call": {"name": "f", "arguments": "{}"}}, 2),
    ],
)
def test_reasoning_details_and_a_function_call_as_it_was_count_once(said: dict[str, Any], chars: int) -> None:
    assert chars_in(generated({"choices": [{"delta": said}]})) == chars


def test_what_is_an_answer() -> None:
    assert is_answer({"choices": []})
    assert is_answer({"usage": {"prompt_tokens": 1}})
    assert not is_answer({"choices": None})
    assert not is_answer([])


def test_the_end_of_a_stream_shows() -> None:
    assert is_finished({"choices": [{"finish_reason": "stop"}]})
    assert not is_finished({"choices": [{"finish_reason": None}, {}]})


def test_groqs_usage_is_found() -> None:
    assert usage_in({"x_groq": {"usage": {"prompt_tokens": 1}}}) == {"prompt_tokens": 1}
    assert usage_in({"usage": None}) is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"error": {"code": 429, "message": "m"}}, 429),
        ({"error": {"code": "server_error"}}, 502),
        ({"error": "broken"}, 502),
        ({"error": {"code": 200}}, 502),
    ],
)
def test_an_error_under_200_is_seen(body: dict[str, Any], status: int) -> None:
    refusal = refusal_in(body)

    assert refusal is not None
    assert refusal.status == status


def test_no_error_is_none() -> None:
    assert refusal_in({"error": None, "choices": []}) is None
    assert refusal_in([]) is None

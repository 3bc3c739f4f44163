"""What is particular to embeddings and Responses: how answers are read, what is sent, what credits pay."""

from typing import Any

import pytest

from services.inference.adapters.provider_catalogue import load_providers
from services.inference.domain.estimates import completion_tokens_max, prompt_size
from services.inference.domain.operations import READINGS
from services.inference.domain.priceable import check_priceable
from services.inference.domain.provider_usage import measured_tokens
from services.inference.domain.providers import request_body
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService, Operation

pytestmark = pytest.mark.unit

RESPONSES = READINGS[Operation.RESPONSES]
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 17,
}


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete", "response.failed"])
def test_a_responses_last_event_ends_it(kind: str) -> None:
    event = {"type": kind, "response": {"usage": USAGE, "error": None}}
    assert RESPONSES.is_finished(event)
    assert RESPONSES.usage(event) == USAGE
    assert RESPONSES.refusal(event) is None


def test_its_other_events_do_not() -> None:
    event = {"type": "response.output_text.delta", "delta": "Hello"}
    assert RESPONSES.is_answer(event)
    assert not RESPONSES.is_finished(event)
    assert [found.text for found in RESPONSES.generated(event)] == ["Hello"]
    assert RESPONSES.usage(event) is None


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"type": "error", "code": "rate_limit_exceeded", "message": "slow down"}, "rate_limit_exceeded"),
        ({"type": "error", "error": {"code": "server_error", "message": "no"}}, "server_error"),
        ({"type": "response.failed", "response": {"error": {"code": "server_error"}}}, "server_error"),
        ({"object": "response", "error": {"code": "invalid_prompt"}, "output": []}, "invalid_prompt"),
    ],
)
def test_an_error_under_200_is_one(body: dict[str, Any], code: str) -> None:
    refusal = RESPONSES.refusal(body)
    assert refusal is not None
    assert code in refusal.codes


@pytest.mark.parametrize(
    ("code", "status"),
    [
        *(("invalid_prompt", 400), ("image_too_large", 400), ("context_length_exceeded", 400)),
        *(("model_not_found", 404), ("insufficient_quota", 429), ("invalid_api_key", 401)),
        *(("rate_limit_exceeded", 429), ("server_error", 502)),
    ],
)
def test_what_a_failed_response_says_is_as_if_it_were_refused(code: str, status: int) -> None:
    error = {"code": code, "message": "no"}
    for body in (
        {"object": "response", "status": "failed", "output": [], "error": error},
        {"type": "response.failed", "response": {"status": "failed", "error": error}},
        {"type": "error", **error},
        {"type": "error", "error": error},
    ):
        refusal = READINGS[Operation.RESPONSES].refusal(body)
        assert refusal is not None
        assert (refusal.status, refusal.code, refusal.message) == (status, code, "no")
    in_a_chat = READINGS[Operation.CHAT].refusal({"error": error})
    assert in_a_chat is not None
    assert in_a_chat.status == status


def test_a_whole_response_is_measured() -> None:
    body = {
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
            {"type": "function_call", "name": "f", "arguments": "{}"},
            None,
        ]
    }
    assert RESPONSES.is_answer(body)
    assert [found.text for found in RESPONSES.generated(body)] == ["Hello", "{}"]


@pytest.mark.parametrize("body", [[], {}, {"output": None}, "x", {"type": 1}])
def test_something_else_is_no_response(body: object) -> None:
    assert not RESPONSES.is_answer(body)


def test_tokens_are_read_by_either_name() -> None:
    tokens = measured_tokens(USAGE)
    assert tokens is not None
    assert (tokens.prompt, tokens.completion, tokens.cached, tokens.reasoning) == (10, 7, 4, 3)
    embedded = measured_tokens({"prompt_tokens": 8, "total_tokens": 8})
    assert embedded is not None
    assert (embedded.prompt, embedded.completion) == (8, 0)
    assert measured_tokens({"prompt_tokens": 8, "total_tokens": 9}) is None


def test_what_is_sent_is_each_endpoints_own() -> None:
    specs = load_providers({})
    openai, router = specs[KeyService.OPENAI], specs[KeyService.OPENROUTER]

    def sent(spec: Any, operation: Operation, **body: Any) -> dict[str, Any]:
        return request_body(spec, "openai/m", body, stream=True, ceiling=9, operation=operation)

    assert sent(openai, Operation.RESPONSES, input="x") == {
        "input": "x",
        "model": "m",
        "stream": True,
        "max_output_tokens": 9,
    }
    assert sent(openai, Operation.RESPONSES, max_output_tokens=3)["max_output_tokens"] == 3
    assert sent(router, Operation.EMBEDDINGS, input="x") == {"input": "x", "model": "openai/m"}


def test_a_streamed_chat_tells_its_usage_whatever_else_is_asked_of_it() -> None:
    spec, body = load_providers({})[KeyService.OPENAI], {"stream_options": {"include_obfuscation": False}}
    sent = request_body(spec, "openai/m", body, stream=True, ceiling=None)
    assert sent["stream_options"] == {"include_obfuscation": False, "include_usage": True}


def test_nobody_could_read_a_response_in_the_background() -> None:
    spec, body = load_providers({})[KeyService.OPENAI], {"input": "x", "background": True}
    with pytest.raises(InvalidRequestError, match="background"):
        request_body(spec, "openai/m", body, stream=False, ceiling=None, operation=Operation.RESPONSES)


def test_a_prompt_is_measured_wherever_it_is() -> None:
    image = {"type": "input_image", "image_url": "data:image/png;base64," + "A" * 9000}
    size = prompt_size({"input": [{"role": "user", "content": [{"type": "input_text", "text": "x"}, image]}]})
    assert size.images == 1
    assert size.text_bytes < 300
    assert completion_tokens_max({"max_output_tokens": 50}, 4096, Operation.RESPONSES) == 50
    assert completion_tokens_max({}, 4096, Operation.EMBEDDINGS) == 0


@pytest.mark.parametrize(
    "body",
    [
        {"input": "x", "previous_response_id": "resp_1"},
        {"input": "x", "conversation": "conv_1"},
        {"prompt": {"id": "pmpt_1"}},
        {"input": "x", "background": True},
        {"input": "x", "tools": [{"type": "web_search"}]},
        {"input": "x", "tools": [{"type": "mcp"}]},
        {"input": [{"type": "item_reference", "id": "msg_1"}]},
        {"input": [{"type": "web_search_call"}]},
        {"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
        {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        {"input": [{"type": "function_call_output", "output": [{"type": "input_file"}]}]},
    ],
)
def test_credits_do_not_pay_for_what_nobody_measured(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        check_priceable("openai/gpt-4o", body, Operation.RESPONSES)


@pytest.mark.parametrize(
    "body",
    [
        {"input": "x"},
        {"input": ["a", "b"]},
        {"input": [[1, 2], [3]]},
        {"input": [{"role": "user", "content": "x"}], "tools": [{"type": "function", "name": "f"}]},
        {"input": [{"type": "function_call", "arguments": "{}"}]},
        {"input": [{"type": "function_call_output", "output": "x"}]},
        {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://a/b.png"}]}]},
    ],
)
def test_credits_pay_for_texts_and_images(body: dict[str, Any]) -> None:
    check_priceable("openai/gpt-4o", body, Operation.RESPONSES)

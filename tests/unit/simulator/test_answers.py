"""Answers have the shapes of OpenAI's API."""

from typing import Any

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.model import Model

from tests.unit.simulator.client import KEY, SimulatorClient

pytestmark = pytest.mark.unit


async def test_a_plain_answer_is_a_chat_completion(simulator: SimulatorClient) -> None:
    body = (await simulator.chat("Hello there")).json()
    answer = ChatCompletion.model_validate(body, strict=True)
    assert answer.choices[0].message.content == "Echo: Hello there"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id.startswith("chatcmpl-")
    assert answer.system_fingerprint
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["completion_tokens"] == 3
    assert usage["prompt_tokens_details"]["cached_tokens"] == 0
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0


async def test_equal_prompts_get_equal_answers(simulator: SimulatorClient) -> None:
    first, second = [(await simulator.chat("Same")).json() for _ in range(2)]
    assert first["choices"] == second["choices"]
    assert first["usage"] == second["usage"]
    assert first["id"] != second["id"]


async def test_a_streamed_answer_is_chunks_with_usage_last(simulator: SimulatorClient) -> None:
    bodies = await simulator.stream("Hello there", stream_options={"include_usage": True})
    chunks = [ChatCompletionChunk.model_validate(body, strict=True) for body in bodies]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "Echo: Hello there"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert not chunks[-1].choices
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3
    assert all(body["usage"] is None for body in bodies[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


async def test_a_stream_without_include_usage_has_none(simulator: SimulatorClient) -> None:
    assert all("usage" not in body for body in await simulator.stream("Hello"))


async def test_the_cache_is_reported_as_asked(simulator: SimulatorClient) -> None:
    usage = (await simulator.chat("[simulate tokens=700,5 cache=400,200]")).json()["usage"]
    details = usage["prompt_tokens_details"]
    assert (details["cached_tokens"], details["cache_write_tokens"]) == (400, 200)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("prompt", ["Hello", "[simulate status=500]", "[simulate redirect]"])
async def test_every_answer_has_a_name_of_its_own(
    simulator: SimulatorClient, prompt: str, *, stream: bool
) -> None:
    names = [(await simulator.chat(prompt, stream=stream)).headers["x-request-id"] for _ in range(2)]
    assert all(name.startswith("req_") for name in names)
    assert names[0] != names[1]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_token_limit_cuts_the_answer(simulator: SimulatorClient, name: str) -> None:
    limit: dict[str, Any] = {name: 2}
    body = (await simulator.chat("one two three four", **limit)).json()
    assert body["choices"][0]["message"]["content"] == "Echo: one"
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 2


async def test_chunks_spreads_the_content(simulator: SimulatorClient) -> None:
    bodies = await simulator.stream("[simulate chunks=20] Hello there")
    content = [body["choices"][0]["delta"].get("content") for body in bodies]
    assert len([piece for piece in content if piece]) == 20
    few = await simulator.stream("[simulate chunks=2] one two three")
    assert [body["choices"][0]["delta"].get("content") for body in few[1:3]] == ["Echo: one", " two three"]


async def test_usage_can_be_set_or_withheld(simulator: SimulatorClient) -> None:
    usage = (await simulator.chat("[simulate tokens=7,5]")).json()["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (7, 5, 12)
    assert "usage" not in (await simulator.chat("[simulate no_usage]")).json()
    bodies = await simulator.stream("[simulate no_usage]", stream_options={"include_usage": True})
    assert all(body["usage"] is None for body in bodies)


async def test_content_parts_are_read(simulator: SimulatorClient) -> None:
    messages = [{"role": "user", "content": [{"type": "text", "text": "In parts"}]}]
    body = (await simulator.chat("", messages=messages)).json()
    assert body["choices"][0]["message"]["content"] == "Echo: In parts"


async def test_the_models_list(simulator: SimulatorClient) -> None:
    body = (await simulator.http.get("/v1/models", headers={"api-key": KEY})).json()
    assert "gpt-4o-mini" in [Model.model_validate(model, strict=True).id for model in body["data"]]

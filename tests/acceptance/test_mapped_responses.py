"""OpenAI's own SDK asks Anthropic and Gemini for Responses, which have chats only."""

import asyncio
from typing import Any

import openai
import orjson
import pytest

from tests.acceptance.callers import Caller
from tests.acceptance.house import House, put_platform_key
from tests.acceptance.responses import receipt_of

pytestmark = pytest.mark.acceptance

MODELS = {"anthropic": "anthropic/claude-haiku-4-5", "gemini": "gemini/gemini-2.5-flash"}
LOOK_UP: Any = {
    "type": "function",
    "name": "look_up",
    "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    "strict": True,
}
each_service = pytest.mark.parametrize("service", MODELS)


async def caller_of(house: House, service: str) -> Caller:
    caller = await house.caller()
    await caller.store_key(f"sk-sim-{service}-mapped-0011223344", service)
    return caller


@each_service
async def test_a_response_comes_whole(house: House, service: str) -> None:
    caller = await caller_of(house, service)
    raw = await caller.sdk.responses.with_raw_response.create(
        model=MODELS[service],
        instructions="Be short.",
        input=[{"role": "user", "content": [{"type": "input_text", "text": "one two"}]}],
        max_output_tokens=50,
        text={"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}},
    )
    response = raw.parse()
    assert (response.status, response.output_text) == ("completed", "Echo: one two")
    receipt = await receipt_of(house, caller, raw.headers, response)
    assert receipt["attempts"][0]["tokens"]["source"] == "measured"


@each_service
async def test_a_response_is_streamed(house: House, service: str) -> None:
    caller = await caller_of(house, service)
    stream = await caller.sdk.responses.create(model=MODELS[service], input="a b", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events[:4]] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "Echo: a b"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Echo: a b"
    assert last.model_extra is not None
    assert last.model_extra["latchkey"]["key_source"] == "user"


@each_service
async def test_the_sdks_own_reader_of_streams_is_content(house: House, service: str) -> None:
    caller = await caller_of(house, service)
    async with caller.sdk.responses.stream(
        model=MODELS[service], input="[simulate call_tool] Rome", tools=[LOOK_UP]
    ) as stream:
        final = await stream.get_final_response()
    (call,) = final.output
    assert call.type == "function_call"
    assert orjson.loads(call.arguments) == {"what": "Rome"}


@each_service
async def test_a_tool_is_called_and_answered(house: House, service: str) -> None:
    caller = await caller_of(house, service)
    asked: list[Any] = [{"role": "user", "content": "[simulate call_tool] Rome"}]
    first = await caller.sdk.responses.create(model=MODELS[service], input=asked, tools=[LOOK_UP])
    (call,) = first.output
    assert call.type == "function_call"
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": "It is a city."}
    more = [*asked, call.model_dump(exclude_none=True), answer, {"role": "user", "content": "So?"}]
    second = await caller.sdk.responses.create(model=MODELS[service], input=more, tools=[LOOK_UP])
    assert second.output_text == "Echo: So?"


@each_service
async def test_an_answer_at_its_limit_is_incomplete(house: House, service: str) -> None:
    caller = await caller_of(house, service)
    stream = await caller.sdk.responses.create(
        model=MODELS[service], input="a b c d", max_output_tokens=2, stream=True
    )
    last = [event async for event in stream][-1]
    assert last.type == "response.incomplete"
    assert last.response.incomplete_details is not None
    assert last.response.incomplete_details.reason == "max_output_tokens"


@each_service
async def test_what_no_chat_can_ask_for_is_refused_and_not_called(house: House, service: str) -> None:
    caller = await caller_of(house, service)
    before = house.calls().chat
    for beyond in (
        {"previous_response_id": "resp_1"},
        {"store": True},
        {"background": True},
        {"tools": [{"type": "web_search"}]},
    ):
        with pytest.raises(openai.BadRequestError) as refused:
            await caller.sdk.responses.create(model=MODELS[service], input="x", **beyond)
        assert refused.value.code == "invalid_request"
        assert isinstance(refused.value.body, dict)
        assert "chat completions only" in refused.value.body["detail"]
        assert refused.value.body["service"] == service
    assert house.calls().chat == before


@each_service
async def test_an_answer_that_breaks_off_ends_with_an_error(house: House, service: str) -> None:
    caller = await caller_of(house, service)
    body = {"model": MODELS[service], "input": "[simulate chunks=9 cut_after=3] x", "stream": True}
    answer = await caller.http.post("/v1/responses", json=body)
    frames = [orjson.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert (frames[-1]["type"], frames[-1]["code"]) == ("error", "provider_error")
    assert [frame["sequence_number"] for frame in frames] == list(range(len(frames)))


@each_service
async def test_credits_pay_for_one(house: House, service: str) -> None:
    caller = await house.caller()
    await put_platform_key(house.realm, service, f"sk-sim-platform-{service}-mapped")
    await house.grant(caller, 1_000_000_000)
    raw = await caller.sdk.responses.with_raw_response.create(
        model=MODELS[service], input="one two", extra_headers={"Latchkey-Flow": "deep_analysis"}
    )
    receipt = await house.receipt(caller, raw.headers["latchkey-run-id"])
    charged = receipt["totals"]["charged_micros"]
    assert charged > 0
    await house.check_ledger(caller, 1_000_000_000 - charged)
    await put_platform_key(house.realm, service)


async def test_the_same_key_is_the_same_run_also_while_it_streams(house: House) -> None:
    caller = await caller_of(house, "anthropic")
    before = house.calls().chat

    async def asked() -> bytes:
        answer = await caller.http.post(
            "/v1/responses",
            json={
                "model": MODELS["anthropic"],
                "input": "[simulate chunks=6 chunk_ms=50] a b",
                "stream": True,
            },
            headers={"Idempotency-Key": "mapped-1"},
        )
        return answer.raise_for_status().content

    first, second = await asyncio.gather(asked(), asked())
    assert first == second == await asked()
    assert house.calls().chat == before + 1

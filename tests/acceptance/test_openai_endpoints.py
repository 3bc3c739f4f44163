"""OpenAI's own SDK: Responses and embeddings, on users' keys and on credits."""

from contextlib import suppress

import openai
import pytest

from tests.acceptance.callers import MODEL
from tests.acceptance.house import House
from tests.acceptance.responses import receipt_of

pytestmark = pytest.mark.acceptance

KEY = "sk-sim-endpoints-0011223344"


async def test_a_response_comes_whole(house: House) -> None:
    caller = await house.caller()
    await caller.store_key(KEY)
    raw = await caller.sdk.responses.with_raw_response.create(model=MODEL, input="one two")
    response = raw.parse()
    assert response.output_text == "Echo: one two"
    receipt = await receipt_of(house, caller, raw.headers, response)
    assert receipt["totals"]["charged_micros"] == 0


async def test_a_response_is_streamed(house: House) -> None:
    caller = await house.caller()
    await caller.store_key(KEY)
    events = [
        event async for event in await caller.sdk.responses.create(model=MODEL, input="a b", stream=True)
    ]
    assert events[0].type == "response.created"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "Echo: a b"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "Echo: a b"
    assert last.model_extra is not None
    assert last.model_extra["latchkey"]["key_source"] == "user"


async def test_a_response_on_credits_is_held_and_charged(house: House) -> None:
    caller = await house.caller()
    await house.grant(caller, 1_000_000_000)
    raw = await caller.sdk.responses.with_raw_response.create(
        model=MODEL, input="one two", max_output_tokens=50, extra_headers={"Latchkey-Flow": "deep_analysis"}
    )
    receipt = await house.receipt(caller, raw.headers["latchkey-run-id"])
    charged = receipt["totals"]["charged_micros"]
    assert charged > 0
    await house.check_ledger(caller, 1_000_000_000 - charged)
    with pytest.raises(openai.BadRequestError) as refused:
        await caller.sdk.responses.create(
            model=MODEL,
            input="x",
            previous_response_id="resp_1",
            extra_headers={"Latchkey-Flow": "deep_analysis"},
        )
    assert refused.value.code == "invalid_request"


async def test_a_response_that_breaks_off_says_so(house: House) -> None:
    caller = await house.caller()
    await caller.store_key(KEY)
    stream = await caller.sdk.responses.create(
        model=MODEL, input="[simulate chunks=9 cut_after=3] x", stream=True
    )
    kinds: list[str] = []
    with suppress(openai.APIError):  # as some versions of the SDK tell it
        kinds.extend([event.type async for event in stream])
    assert "response.completed" not in kinds


async def test_embeddings_come_as_they_are(house: House) -> None:
    caller = await house.caller()
    await caller.store_key(KEY)
    made = await caller.sdk.embeddings.create(
        model="text-embedding-3-small", input=["one", "two words"], encoding_format="float"
    )
    assert [len(vector.embedding) for vector in made.data] == [3, 3]
    assert made.usage.prompt_tokens == 3


async def test_embeddings_on_credits_are_charged_for_their_input(house: House) -> None:
    caller = await house.caller()
    await house.grant(caller, 1_000_000_000)
    raw = await caller.sdk.embeddings.with_raw_response.create(
        model="openai/text-embedding-3-small",
        input="one two three",
        encoding_format="float",
        extra_headers={"Latchkey-Flow": "deep_analysis"},
    )
    receipt = await house.receipt(caller, raw.headers["latchkey-run-id"])
    assert receipt["attempts"][0]["tokens"]["completion"] == 0
    assert receipt["totals"]["charged_micros"] > 0
    await house.check_ledger(caller, 1_000_000_000 - receipt["totals"]["charged_micros"])


async def test_a_provider_without_the_endpoint_says_so(house: House) -> None:
    caller = await house.caller()
    await caller.store_key("sk-ant-sim-0011223344", "anthropic")
    with pytest.raises(openai.BadRequestError) as refused:
        await caller.sdk.embeddings.create(model="anthropic/claude-haiku-4-5", input="x")
    assert "anthropic" in str(refused.value.body)


async def test_keys_are_as_strict_as_with_chats(house: House) -> None:
    caller = await house.caller()
    for create in (
        caller.sdk.responses.create(model=MODEL, input="x", extra_headers={"Latchkey-Flow": "solver"}),
        caller.sdk.embeddings.create(model=MODEL, input="x", extra_headers={"Latchkey-Flow": "solver"}),
    ):
        with pytest.raises(openai.PermissionDeniedError) as refused:
            await create
        assert refused.value.code == "user_api_key_required"

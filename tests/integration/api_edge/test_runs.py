"""Runs over real HTTP and RabbitMQ: the official SDK, early chunks, clients that go away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import openai
import pytest

from infra.bootstrap import Realm
from infra.bootstrap.tokens import mint_jwt
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunCompleted, RunFailed, RunRequested
from shared.kernel.errors import UserApiKeyRequiredError
from shared.kernel.names import API_EDGE, KeySource
from tests.fakes.api_edge_worker import chunk
from tests.integration.api_edge.house import House
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

Mint = Callable[..., Awaitable[str]]
ASK: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Hi"}]}


async def test_the_official_sdk_works(house: House, mint: Mint) -> None:
    async with house.sdk(await mint()) as sdk:
        plain = await sdk.chat.completions.with_raw_response.create(**ASK)
        stream = await sdk.chat.completions.create(**ASK, stream=True)
        pieces = [piece.choices[0].delta.content async for piece in stream]
        models = [model.id async for model in sdk.models.list()]
    assert plain.parse().choices[0].message.content == "Hi"
    assert plain.headers["latchkey-run-id"] == str(house.worker.requested[0].run_id)
    assert plain.headers["latchkey-key-source"] == "user"
    assert pieces == ["Hel", "lo"]
    assert "openai/gpt-4o-mini" in models


async def test_the_first_chunk_arrives_while_the_provider_still_writes(house: House, mint: Mint) -> None:
    read = asyncio.Event()

    async def writes_on_when_read(run: RunRequested) -> None:
        await house.worker.start(run)
        await house.worker.say(run, 1, chunk("first"))
        await read.wait()
        await house.worker.say(run, 2, chunk("second"))
        end = RunCompleted(run_id=run.run_id, seq=3, key_source=KeySource.USER)
        await house.worker.bus.relay(end, run.reply_to)

    house.worker.serve = writes_on_when_read
    async with house.sdk(await mint()) as sdk, asyncio.timeout(10):
        pieces = []
        async for piece in await sdk.chat.completions.create(**ASK, stream=True):
            pieces.append(piece.choices[0].delta.content)
            read.set()
    assert pieces == ["first", "second"]


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_hangs_up_cancels_its_run(house: House, mint: Mint, *, stream: bool) -> None:
    house.worker.serve = house.worker.is_silent
    async with house.client(await mint()) as client:
        with pytest.raises(httpx2.ReadTimeout):
            await client.post("/v1/chat/completions", json={**ASK, "stream": stream}, timeout=0.5)
    assert await asyncio.wait_for(house.worker.cancelled.get(), 5) == house.worker.requested[0].run_id


async def test_a_client_that_hangs_up_in_the_middle_cancels_its_run(house: House, mint: Mint) -> None:
    async def stalls(run: RunRequested) -> None:
        await house.worker.start(run)
        await house.worker.say(run, 1, chunk("first"))

    house.worker.serve = stalls
    async with house.sdk(await mint()) as sdk:
        stream = await sdk.chat.completions.create(**ASK, stream=True)
        async for _ in stream:
            break
        await stream.close()
        cancelled = await asyncio.wait_for(house.worker.cancelled.get(), 5)
    assert cancelled == house.worker.requested[0].run_id


async def test_a_refused_run_has_its_status_in_a_stream_too(house: House, mint: Mint) -> None:
    async def refuses(run: RunRequested) -> None:
        error = ErrorBody.of(UserApiKeyRequiredError(service="openai"))
        await house.worker.bus.relay(RunFailed(run_id=run.run_id, seq=0, error=error), run.reply_to)

    house.worker.serve = refuses
    async with house.sdk(await mint()) as sdk:
        for stream in (False, True):
            with pytest.raises(openai.PermissionDeniedError) as refusal:
                await sdk.chat.completions.create(**ASK, stream=stream)
            assert refusal.value.code == "user_api_key_required"
            assert isinstance(refusal.value.body, dict)
            assert refusal.value.body["settings_url"]
            assert refusal.value.body["run_id"] == str(house.worker.requested[-1].run_id)


async def test_a_run_nobody_takes_is_given_up(house: House, mint: Mint) -> None:
    await house.worker.bus.drain()
    async with house.client(await mint()) as client:
        answer = await client.post("/v1/chat/completions", json=ASK)
    assert (answer.status_code, answer.json()["error"]["service"]) == (503, "inference")
    assert answer.json()["error"]["code"] == "service_unavailable"
    run_id = answer.headers["latchkey-run-id"]
    assert str(await asyncio.wait_for(house.worker.cancelled.get(), 5)) == run_id


async def test_a_hundred_runs_at_once(house: House, mint: Mint) -> None:
    async with house.client(await mint()) as client:
        answers = await asyncio.gather(
            *(
                client.post("/v1/chat/completions", json={**ASK, "stream": bool(number % 2)})
                for number in range(100)
            )
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.headers["latchkey-run-id"] for answer in answers}) == 100


async def test_a_jwt_of_the_realm_is_taken(house: House, realm: TestRealm) -> None:
    secret = realm.env(API_EDGE)["LATCHKEY_AUTH__JWT_SECRET"]
    async with house.client(mint_jwt(secret, Realm(realm.name), "carol", "user")) as client:
        answer = await client.post("/v1/chat/completions", json=ASK)
    async with house.client(mint_jwt("x" * 32, Realm(realm.name), "carol", "user")) as client:
        forged = await client.post("/v1/chat/completions", json=ASK)
    assert (answer.status_code, forged.status_code) == (200, 401)
    assert house.worker.requested[-1].user_id == "carol"


async def test_a_chunked_upload_without_end_is_cut_off(house: House, mint: Mint) -> None:
    async def endless() -> Any:
        while True:
            yield b" " * 65_536

    async with house.client(await mint()) as client:
        try:
            answer = await client.post("/v1/chat/completions", content=endless())
        except httpx2.TransportError:
            return  # cut while still sending: some clients see the answer, some the cut
    assert answer.status_code == 413

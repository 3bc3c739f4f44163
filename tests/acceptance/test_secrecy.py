"""A canary key, used in every way, is found nowhere but where its owner put it."""

import asyncio
import secrets
from collections.abc import Iterator

import aio_pika
import httpx2
import pytest

from shared.contracts import topology
from tests.acceptance.bus_spy import lying_in_queues, spying
from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import House, eventually
from tests.traces import database_dump, traces

pytestmark = pytest.mark.acceptance


def canary(kind: str = "canary") -> str:
    return f"sk-{kind}-{secrets.token_hex(20)}"


def told(answers: list[httpx2.Response]) -> Iterator[str]:
    for answer in answers:
        yield answer.text
        yield repr(answer.headers)


async def everything_kept(house: House) -> list[bytes | str]:
    """Queues, the stream from its beginning, logs and the database."""
    return [
        *await lying_in_queues(house.realm.admin["LATCHKEY_AMQP_URL"]),
        *house.logs().values(),
        *await database_dump(house.realm.admin["LATCHKEY_POSTGRES_URL"]),
    ]


async def use(caller: Caller, key: str) -> list[httpx2.Response]:
    """Store a key, use it plain and streamed, with every misfortune of a provider's, and look at it again."""
    stored = await caller.http.post("/api/keys", json={"service": "openai", "api_key": key, "label": "mine"})
    runs = [
        await caller.ask(f"{simulate} say it", stream=stream)
        for simulate in ("", "[simulate status=401]", "[simulate status=500]", "[simulate cut_after=1]")
        for stream in (False, True)
    ]
    listed = [await caller.http.get(path) for path in ("/api/keys", "/api/usage", "/api/credits")]
    return [stored, *runs, *listed]


@pytest.mark.parametrize("kind", ["canary", "canary-bad-", "canary-broke-"])
async def test_a_stored_key_is_found_nowhere(house: House, kind: str) -> None:
    caller, key = await house.caller("canary"), canary(kind)

    async with spying(house.realm.admin["LATCHKEY_AMQP_URL"]) as passing:
        answers = await use(caller, key)

    assert house.calls().with_key(key) >= 8, "the provider did get the key"
    assert len(passing) > 20
    assert traces(key, [*told(answers), *passing, *await everything_kept(house)]) == []


async def test_a_key_in_a_header_is_found_nowhere_not_even_while_it_waits_in_the_queue(house: House) -> None:
    caller, key = await house.caller("canary"), canary()
    await asyncio.gather(*(house.parts[worker].stop() for worker in house.workers))
    headers = {"X-OpenAI-Key": key}
    body = {"model": MODEL, "messages": [{"role": "user", "content": "wait for me"}]}

    waiting = await caller.http.post("/v1/chat/completions", json=body, headers=headers)
    assert waiting.status_code == 503
    queued = await lying_in_queues(house.realm.admin["LATCHKEY_AMQP_URL"])
    assert any(b"wait for me" in message for message in queued)
    assert traces(key, [*told([waiting]), *queued]) == []
    await house.restore()

    answer = await caller.http.post("/v1/chat/completions", json=body, headers=headers)
    assert answer.headers["latchkey-key-source"] == "request"
    assert house.calls().with_key(key) == 1
    assert traces(key, [*told([answer]), *await everything_kept(house)]) == []


async def test_a_malformed_message_is_dead_lettered_and_its_body_told_nowhere(house: House) -> None:
    key = canary()
    queues = (topology.INFERENCE_RUNS, topology.BILLING_USAGE, topology.KEY_VAULT_RPC, topology.BILLING_RPC)
    bodies = [
        f'{{"api_key": "{key}"'.encode(),
        f'{{"specversion": "1.0", "id": "1", "source": "x", "type": "{key}", "data": "{key}"}}'.encode(),
    ]
    connection = await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        for queue in queues:
            for body in bodies:
                await channel.default_exchange.publish(aio_pika.Message(body), queue)

        async def are_dead() -> bool:
            dead = [await channel.get_queue(topology.dead_letters(queue)) for queue in queues[:2]]
            return all((queue.declaration_result.message_count or 0) >= len(bodies) for queue in dead)

        await eventually(are_dead, "the malformed messages are dead letters")
    caller = await house.caller()
    await caller.store_key("sk-sim-after-the-storm-01")
    assert (await caller.ask("all is well again")).status_code == 200
    dump = await database_dump(house.realm.admin["LATCHKEY_POSTGRES_URL"])
    assert traces(key, [*house.logs().values(), *dump]) == []
    await _purge(house)


async def _purge(house: House) -> None:
    connection = await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        for queue in (topology.INFERENCE_RUNS, topology.BILLING_USAGE):
            await (await channel.get_queue(topology.dead_letters(queue))).purge()

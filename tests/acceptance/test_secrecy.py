"""Canary keys of every service, brought in every way, are found nowhere but where their owner put them."""

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import aio_pika
import httpx2
import pytest
import pytest_asyncio

from shared.contracts import topology
from shared.kernel.names import KeyService
from tests.acceptance.bus_spy import lying_in_queues, spying
from tests.acceptance.canaries import SONG, Canary, Way
from tests.acceptance.house import House, eventually
from tests.traces import database_dump, traces

pytestmark = pytest.mark.acceptance

_DEAD = (topology.INFERENCE_RUNS, topology.BILLING_USAGE, topology.KEY_VAULT_USAGE)
_RPC = (topology.KEY_VAULT_RPC, topology.BILLING_RPC, topology.INFERENCE_RPC)


def told(answers: Iterable[httpx2.Response]) -> Iterator[str]:
    for answer in answers:
        yield answer.text
        yield repr(answer.headers)


async def everything_kept(house: House) -> list[bytes | str]:
    """Queues, the streams from their beginnings, logs (of level debug) and the database."""
    return [
        *await lying_in_queues(house.realm.admin["LATCHKEY_AMQP_URL"]),
        *house.logs().values(),
        *await database_dump(house.realm.admin["LATCHKEY_POSTGRES_URL"]),
    ]


async def flock(house: House, mark: str = "") -> list[Canary]:
    """A canary for each service and way, each with an owner of its own, brought in."""
    kinds = itertools.product(KeyService, Way)
    canaries = [Canary(await house.caller("canary"), service, way, mark) for service, way in kinds]
    await asyncio.gather(*(canary.come_in() for canary in canaries))
    return canaries


async def ask_all(canaries: list[Canary], prompt: str, *, stream: bool = False) -> list[int]:
    answers = await asyncio.gather(*(canary.ask(prompt, stream=stream) for canary in canaries))
    return sorted({answer.status_code for answer in answers})


def assert_hidden(canaries: list[Canary], places: list[bytes | str]) -> None:
    """What all canaries begin with is looked for: one look finds any of them."""
    assert all(canary.key.startswith(SONG) for canary in canaries)
    answers = itertools.chain.from_iterable(told(canary.answers) for canary in canaries)
    assert traces(SONG, [*answers, *places]) == []


async def test_a_key_is_found_nowhere_whatever_the_provider_does(house: House) -> None:
    async with spying(house.realm.admin["LATCHKEY_AMQP_URL"]) as passing:
        canaries = await flock(house)
        for stream in (False, True):
            assert await ask_all(canaries, "sing", stream=stream) == [200]
            assert await ask_all(canaries, "[simulate status=401]", stream=stream) == [403]
            assert await ask_all(canaries, "[simulate status=402]", stream=stream) == [402]
            assert await ask_all(canaries, "[simulate status=429 retry_after=1]", stream=stream) == [429]
            assert await ask_all(canaries, "[simulate garbage]", stream=stream) == [502]
        assert await ask_all(canaries, "[simulate stall_after=1]", stream=True) == [
            200
        ]  # then an error event
        await asyncio.gather(*(canary.look() for canary in canaries))

    called = house.calls()
    for canary in canaries:
        assert called.with_key(canary.key) == 11, f"the provider did get the {canary}"
    assert len(passing) > 28 * 11
    assert_hidden(canaries, [*passing, *await everything_kept(house)])


async def test_a_key_that_its_provider_quotes_in_its_refusal_is_found_nowhere(house: House) -> None:
    """At entry, and later: the simulator's 401 says the whole key, as OpenAI's says parts of it."""
    canaries = await flock(house, "revoked-")
    assert await ask_all(canaries, "sing") == [403]
    assert await ask_all(canaries, "sing", stream=True) == [403]
    for kind in ("bad-", "expired-", "broke-"):
        refused = [Canary(await house.caller("canary"), service, Way.STORED, kind) for service in KeyService]
        for canary in refused:
            body = {
                "service": canary.key_service,
                "api_key": canary.key,
                "baseUrl": "https://a.public.example",
            }
            canary.answers.append(await canary.caller.http.post("/api/keys", json=body))
            canary.answers.append(await canary.caller.http.post("/api/keys/validate", json=body))
        canaries += refused
    assert_hidden(canaries, await everything_kept(house))


async def test_a_key_is_found_nowhere_when_workers_crash_with_it_in_hand(house: House) -> None:
    canaries = await flock(house)
    singing = asyncio.create_task(ask_all(canaries, "[simulate chunks=20 chunk_ms=200]", stream=True))

    async def are_under_way() -> bool:
        return house.calls().in_flight >= len(canaries)

    await eventually(are_under_way, "all sing")
    await asyncio.gather(*(house.parts[worker].kill() for worker in house.workers))
    await house.restore()
    await singing
    assert_hidden(canaries, await everything_kept(house))


async def test_a_key_is_found_nowhere_while_its_run_waits_in_the_queue(house: House) -> None:
    canaries = await flock(house)
    await asyncio.gather(*(house.parts[worker].stop() for worker in house.workers))

    assert await ask_all(canaries, "wait for me") == [503]
    queued = await lying_in_queues(house.realm.admin["LATCHKEY_AMQP_URL"])
    assert any(b"wait for me" in message for message in queued)
    assert_hidden(canaries, list(queued))
    await house.restore()
    assert await ask_all(canaries, "sing") == [200]
    assert_hidden(canaries, await everything_kept(house))


async def test_a_malformed_message_is_dead_lettered_and_its_body_told_nowhere(house: House) -> None:
    key = f"sk-canary-{secrets.token_hex(20)}"
    bodies = [
        f'{{"api_key": "{key}"'.encode(),
        f'{{"specversion": "1.0", "id": "1", "source": "x", "type": "{key}", "data": "{key}"}}'.encode(),
    ]
    connection = await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        for queue in (*_DEAD, *_RPC):
            for body in bodies:
                await channel.default_exchange.publish(aio_pika.Message(body), queue)

        async def are_dead() -> bool:
            dead = [await channel.get_queue(topology.dead_letters(queue)) for queue in _DEAD]
            return all((queue.declaration_result.message_count or 0) >= len(bodies) for queue in dead)

        await eventually(are_dead, "the malformed messages are dead letters")
    caller = await house.caller()
    await caller.store_key("sk-sim-after-the-storm-01")
    assert (await caller.ask("all is well again")).status_code == 200
    dump = await database_dump(house.realm.admin["LATCHKEY_POSTGRES_URL"])
    assert traces(key, [*house.logs().values(), *dump]) == []
    await _purge(house)


@pytest_asyncio.fixture
async def leak(house: House) -> AsyncIterator[str]:
    """A key planted in a queue, in a table and in a log; taken out again."""
    key = f"sk-planted-{secrets.token_hex(20)}"
    connection = await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        dead = topology.dead_letters(topology.INFERENCE_RUNS)
        await channel.default_exchange.publish(aio_pika.Message(key.encode()), dead)
    plant = (
        "INSERT INTO edge.runs (run_id, user_id, flow, model, stream) VALUES ($1::uuid, 'u', 'f', $2, true)"
    )
    run_id = "01939a2f-0000-7000-8000-00000000dead"
    await house.rows(plant, run_id, key.encode().hex())
    log = house.parts[house.workers[0]].log
    _write(log, f"a traceback with {key} in it\n")
    yield key
    await house.rows("DELETE FROM edge.runs WHERE run_id = $1::uuid", run_id)
    _take_out(log, key)
    await _purge(house)


def _write(log: Path, line: str) -> None:
    with log.open("a") as lines:
        lines.write(line)


def _take_out(log: Path, key: str) -> None:
    """Put as many other characters in its place: the log's offsets hold for the lives to come."""
    log.write_text(log.read_text().replace(key, "x" * len(key)))


async def test_a_planted_leak_is_found_in_every_place(house: House, leak: str) -> None:
    places = await everything_kept(house)
    assert len(traces(leak, places)) >= 4  # the queue, the log, and the table as text and as binary


async def _purge(house: House) -> None:
    connection = await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"])
    async with connection:
        channel = await connection.channel()
        for queue in _DEAD:
            await (await channel.get_queue(topology.dead_letters(queue))).purge()

"""The usage stream as an analyst follows it: where reading begins and ends; nothing is lost or repeated."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from secrets import token_hex

import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from infra.event_stream import Entry, EventStream, StreamError, events
from tests.gate import open_gate
from tests.integration.infra.conftest import put, record
from tests.realm import TestRealm, temporary_realm

pytestmark = pytest.mark.integration

_LARGE = 300_000


@pytest_asyncio.fixture
async def empty(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path_factory.mktemp("empty")) as made:
        yield made


def _stream(realm: TestRealm) -> EventStream:
    return EventStream(realm.admin["LATCHKEY_ANALYST_AMQP_URL"], patience_s=1)


async def _read(stream: EventStream, start: str | int | datetime, end: int | None) -> list[Entry]:
    async with asyncio.timeout(20):
        return [entry async for batch in stream.read(start, end) for entry in batch]


async def _until(number: int, mark: str, followed: AsyncIterator[str]) -> list[int]:
    """Read on until an event says `number`; return what the marked ones said."""
    said: list[int] = []
    async with asyncio.timeout(20):
        async for text in followed:
            if (told := json.loads(text).get(mark)) is not None:
                said.append(told)
                if told == number:
                    return said
    raise AssertionError("the stream ended")


async def test_an_empty_stream_ends_at_once(empty: TestRealm) -> None:
    stream = _stream(empty)
    assert await stream.end() == 0
    assert [await stream.find(start) for start in ("first", "next", datetime.now(UTC))] == [0, 0, 0]
    assert await _read(stream, "first", await stream.end()) == []
    assert [
        text async for text in events(empty.admin["LATCHKEY_ANALYST_AMQP_URL"], "first", follow=False)
    ] == []


async def test_where_reading_begins_and_ends(empty: TestRealm) -> None:
    stream, before = _stream(empty), datetime.now(UTC)
    await record(empty, "number", *range(10))
    assert await stream.end() == 10
    assert [await stream.find(start) for start in ("first", "next", 4, before - timedelta(days=9))] == [
        0,
        10,
        4,
        0,
    ]
    assert await stream.find(before + timedelta(hours=1)) == 10
    read = await _read(stream, 4, 8)
    assert [entry.offset for entry in read] == [4, 5, 6, 7]
    assert [json.loads(entry.body) for entry in read] == [{"number": number} for number in range(4, 8)]


async def test_next_is_what_comes_after_even_when_the_connection_is_lost_before(realm: TestRealm) -> None:
    mark, url = token_hex(4), realm.admin["LATCHKEY_ANALYST_AMQP_URL"]
    await record(realm, mark, 0)
    async with open_gate(url) as gate, aclosing(events(gate.before(url), "next", follow=True)) as followed:
        first = asyncio.ensure_future(_until(2, mark, followed))
        await asyncio.sleep(0.5)
        await gate.close()
        await record(realm, mark, 1, 2)
        await gate.open()
        assert await first == [1, 2]


async def test_a_lost_connection_goes_on_after_the_last_event_seen(realm: TestRealm) -> None:
    mark = token_hex(4)
    await record(realm, mark, 1, 2, 3)
    async with open_gate(realm.admin["LATCHKEY_ANALYST_AMQP_URL"]) as gate:
        url = gate.before(realm.admin["LATCHKEY_ANALYST_AMQP_URL"])
        async with aclosing(events(url, "first", follow=True)) as followed:
            assert await _until(3, mark, followed) == [1, 2, 3]
            await gate.close()
            await record(realm, mark, 4, 5)
            await gate.open()
            assert await _until(5, mark, followed) == [4, 5]


async def test_bodies_of_any_size_come_whole(empty: TestRealm) -> None:
    bodies = [b"", b"x", b"y" * _LARGE, b"z" * 131_064, b"end"]
    await put(empty, *bodies)
    stream = _stream(empty)
    assert [entry.body for entry in await _read(stream, "first", await stream.end())] == bodies


async def test_a_read_with_an_end_gives_up_on_a_broker_that_stays_away(realm: TestRealm) -> None:
    url = realm.admin["LATCHKEY_ANALYST_AMQP_URL"]
    await record(realm, token_hex(4), 1)
    async with open_gate(url) as gate:
        stream = EventStream(gate.before(url), patience_s=1)
        end = await stream.end()
        async with aclosing(stream.read(0, end + 1)) as batches:
            await anext(batches)
            await gate.close()
            with pytest.raises(StreamError, match="away"):
                [batch async for batch in batches]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("amqp://nobody:x@{host}", "ACCESS_REFUSED"),
        ("http://{host}", "not an address"),
        ("amqp://{host}/%2Fnowhere", "ACCESS_REFUSED|NOT_ALLOWED"),
    ],
)
async def test_what_cannot_be_read_is_said_at_once(realm: TestRealm, wrong: str, said: str) -> None:
    host = realm.admin["LATCHKEY_ANALYST_AMQP_URL"].rpartition("@")[2].partition("/")[0]
    with pytest.raises(StreamError, match=said):
        await EventStream(wrong.format(host=host)).end()


async def test_who_may_not_read_it_is_told(realm: TestRealm) -> None:
    with pytest.raises(StreamError, match="ACCESS_REFUSED"):
        await EventStream(realm.env("api_edge")["LATCHKEY_AMQP_URL"]).end()

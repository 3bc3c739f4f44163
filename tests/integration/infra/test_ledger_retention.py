"""`ledger rebuild --check` on a stream that keeps little: from its begin, from a checkpoint, or not."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from secrets import token_hex
from typing import Any, Final

import aio_pika
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from infra.event_stream import FIRST, Entry
from infra.ledger.errors import CannotTellError
from shared.contracts.topology import USAGE_EVENTS, queues
from tests.fakes.billing import usage_event
from tests.integration.infra.ledger_house import COST, House, running_house
from tests.realm import TestRealm, temporary_realm

pytestmark = pytest.mark.integration

_SMALL: Final[dict[str, Any]] = {
    **queues()[USAGE_EVENTS],
    "x-max-length-bytes": 200_000,
    "x-stream-max-segment-size-bytes": 20_000,
}
_AT_ONCE: Final = 15


@pytest_asyncio.fixture(scope="module")
async def house(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with temporary_realm(servers, tmp_path_factory.mktemp("ledger")) as realm:
        await _keep_little(realm)
        async with running_house(realm) as made:
            yield made


async def _keep_little(realm: TestRealm) -> None:
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        channel = await connection.channel()
        await channel.queue_delete(USAGE_EVENTS)
        stream = await channel.declare_queue(USAGE_EVENTS, durable=True, arguments=_SMALL)
        await stream.bind("usage", "#")


async def _spend(house: House, times: int = _AT_ONCE) -> None:
    user = f"user-{token_hex(4)}"
    await house.grant(user, COST * times)
    held = [await house.authorize(user) for _ in range(times)]
    await house.report(*held, usage_event(user_id=user, cost_micros=COST))
    await house.quiet()


async def _spend_until_begin_is_after(house: House, offset: int) -> int:
    while (first := await house.stream.find(FIRST)) <= offset:
        await _spend(house)
    return first


class _Meanwhile:
    """A stream to which more is added once the tables were looked at: a check asks for its begin then."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._spending = asyncio.Lock()
        self.end_before = 0

    async def find(self, start: str) -> int:
        await self._spend_once()
        return await self._house.stream.find(start)

    async def end(self) -> int:
        await self._spend_once()
        return await self._house.stream.end()

    async def _spend_once(self) -> None:
        async with self._spending:
            if not self.end_before:
                self.end_before = await self._house.stream.end()
                await _spend(self._house)

    def read(self, start: int, end: int) -> AsyncGenerator[list[Entry], None]:
        return self._house.stream.read(start, end)


async def test_from_a_checkpoint_when_the_begin_is_gone(house: House) -> None:
    """One that was made while runs went on: the stream told of more than the tables had when it was begun."""
    await _spend(house, 30)  # more than one segment tells of: the first of them is gone soon
    more = _Meanwhile(house)
    whole, found = await house.check(stream=more)
    assert (found, whole.start, await house.stream.find(FIRST)) == ([], 0, 0)
    assert whole.checkpoint in {more.end_before - 1, more.end_before}, "an offset may be the broker's own"
    assert whole.end > more.end_before

    first = await _spend_until_begin_is_after(house, 0)
    assert first <= whole.checkpoint + 1, "the checkpoint reaches up to what is left"
    rest, found = await house.check()
    assert (found, rest.start) == ([], whole.checkpoint + 1)
    assert rest.balances == await house.database.fetchval("SELECT count(*) FROM billing.accounts")


async def test_what_is_wrong_after_the_checkpoint_is_found(house: House) -> None:
    newest = "SELECT usage_id FROM billing.usage WHERE receivable_micros = 0 ORDER BY seq DESC LIMIT 1"
    usage_id = await house.database.fetchval(newest)
    async with house.tampered("DELETE FROM billing.transfers WHERE cause_id = $1", usage_id):
        _, found = await house.check(wait_s=0)
        assert [(one.what, one.subject) for one in found] == [
            ("published, but never posted", f"transfer {usage_id} charge")
        ]
    before = "SELECT user_id FROM billing.accounts WHERE kind = 'user' ORDER BY id LIMIT 1"
    user = await house.database.fetchval(before)
    change = "UPDATE billing.accounts SET posted_micros = 7 WHERE user_id = $1 AND kind = 'user'"
    async with house.tampered(change, user):
        _, found = await house.check(wait_s=0)
        assert [(one.what, one.subject) for one in found] == [
            ("a balance differs", f"account user of {user}")
        ]


async def test_without_a_checkpoint_it_cannot_be_told_until_the_tables_are_accepted(house: House) -> None:
    reached = await house.database.fetchval("SELECT max(stream_offset) FROM billing.checkpoints")
    await _spend_until_begin_is_after(house, reached + 1)
    with pytest.raises(CannotTellError, match="no checkpoint reaches"):
        await house.check()
    assert await house.scratch() == []

    accepted, found = await house.check(accept=True)
    assert (found, accepted.checkpoint) == ([], accepted.end - 1)
    await _spend(house)
    rest, found = await house.check()
    assert (found, rest.start) == ([], accepted.end)
    left = await house.database.fetchval("SELECT min(stream_offset) FROM billing.checkpoints")
    assert left == accepted.checkpoint, "those that are of no use any more are gone"


async def test_a_stream_that_was_made_anew_is_checked_from_where_it_was_accepted(house: House) -> None:
    """As when RabbitMQ's data is lost."""
    await _keep_little(house.realm)
    rebuilt, found = await house.check(wait_s=0)
    assert (rebuilt.start, rebuilt.checkpoint) == (0, None)
    assert {difference.what for difference in found} >= {"recorded, but never published"}

    accepted, _ = await house.check(wait_s=0, accept=True)
    assert (accepted.end, accepted.checkpoint) == (0, -1), "the new stream has told nothing yet"
    await _spend(house)
    later, found = await house.check()
    assert (found, later.start) == ([], 0)
    assert later.usage == _AT_ONCE + 1
    kept = await house.database.fetch("SELECT stream_offset FROM billing.checkpoints ORDER BY id")
    assert [row["stream_offset"] for row in kept] == [-1, later.checkpoint], "the lost stream's are gone"

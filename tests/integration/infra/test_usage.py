"""The usage stream as an analyst follows it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from secrets import token_hex

import pytest

from infra.usage import events
from tests.gate import open_gate
from tests.integration.infra.conftest import record
from tests.realm import TestRealm

pytestmark = pytest.mark.integration


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

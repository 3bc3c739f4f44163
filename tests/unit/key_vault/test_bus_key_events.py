"""Telling what changed: at once, as one event, and never at the cost of the change."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from services.key_vault.adapters.bus_key_events import BusKeyEvents
from shared.contracts.key_events import KeyRevoked, KeyStored
from shared.contracts.message import Message
from shared.kernel.errors import BusUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KEY_VAULT, CredentialStatus, KeyService
from tests.logs import Log, logging_as

pytestmark = pytest.mark.unit

EVENT = KeyRevoked(user_id="ada", credential_id=new_id())


class Wire:
    """A bus that fails as long as it is told to, or takes its time."""

    def __init__(self, *fails: Exception, takes_s: float = 0) -> None:
        self.fails = list(fails)
        self.takes_s = takes_s
        self.tries: list[tuple[Message, str | None]] = []
        self.published: list[Message] = []

    async def publish(self, message: Message, *, event_id: str | None = None) -> None:
        self.tries.append((message, event_id))
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise self.fails.pop(0)
        self.published.append(message)


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_as(KEY_VAULT) as log:
        yield log


async def test_it_is_out_before_the_change_is_answered() -> None:
    wire = Wire()
    await BusKeyEvents(wire).tell(EVENT)
    assert wire.published == [EVENT]


async def test_what_fails_is_told_again_as_the_same_event() -> None:
    wire = Wire(BusUnavailableError(), RuntimeError("odd"))
    key_events = BusKeyEvents(wire, retry_s=0.01)
    await key_events.tell(EVENT)
    await key_events.finish()
    assert wire.published == [EVENT]
    assert len(wire.tries) == 3
    assert len({event_id for _, event_id in wire.tries}) == 1


async def test_a_slow_bus_holds_the_change_up_for_a_moment_only() -> None:
    wire = Wire(takes_s=0.6)
    key_events = BusKeyEvents(wire)
    began = asyncio.get_running_loop().time()
    await key_events.tell(EVENT)
    assert asyncio.get_running_loop().time() - began < 0.5
    await key_events.finish()
    assert wire.published == [EVENT]


async def test_in_the_end_it_is_given_up_and_logged(log: Log) -> None:
    wire = Wire(*(BusUnavailableError() for _ in range(1_000)))
    key_events = BusKeyEvents(wire, retry_s=0.01, told_within_s=0.1)
    await key_events.tell(EVENT)
    await key_events.finish()
    assert wire.published == []
    assert "a key event was not told" in log.getvalue()


async def test_a_revocation_is_told_again_to_who_was_just_connecting() -> None:
    wire = Wire()
    key_events = BusKeyEvents(wire, again_s=(0.01, 0.01, 0.01))
    await key_events.tell(EVENT)
    assert wire.published == [EVENT]
    wire.fails = [BusUnavailableError()]
    await asyncio.sleep(0.1)
    assert wire.published == [EVENT] * 3
    assert len(wire.tries) == 4
    assert len({event_id for _, event_id in wire.tries}) == 1


async def test_what_else_changed_is_told_once() -> None:
    """Who lost the bus remembers nothing that it could be about."""
    said: dict[str, Any] = {"service": KeyService.OPENAI, "version": 1, "status": CredentialStatus.ACTIVE}
    wire, stored = Wire(), KeyStored(user_id="ada", credential_id=new_id(), **said)
    await BusKeyEvents(wire, again_s=(0.01,)).tell(stored)
    await asyncio.sleep(0.05)
    assert wire.published == [stored]


@pytest.mark.parametrize("takes_s", [0, 60])
async def test_at_the_end_nothing_is_left_running(takes_s: float) -> None:
    key_events = BusKeyEvents(Wire(takes_s=takes_s))
    await key_events.tell(EVENT)
    await key_events.finish(within_s=0.01)
    await asyncio.sleep(0.01)
    assert not key_events._telling
    assert not key_events._telling_again

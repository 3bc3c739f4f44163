"""`ledger rebuild --check` beside a stream that flows, is forged, is away; and checks that are killed."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_hex
from typing import Final

import aio_pika
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from shared.contracts.credits import CreditsGranted
from shared.contracts.message import Message
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING
from tests.envelopes import encoded, enveloped
from tests.fakes.billing import usage_event
from tests.gate import Gate, open_gate
from tests.integration.infra.ledger_house import COST, House, running_house
from tests.realm import temporary_realm

pytestmark = pytest.mark.integration

_ANALYST: Final = "LATCHKEY_ANALYST_AMQP_URL"
_REBUILD: Final = ("ledger", "rebuild", "--check", "--wait", "5")


@pytest_asyncio.fixture(scope="module")
async def house(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("ledger")
    async with temporary_realm(servers, folder) as realm, running_house(realm) as made:
        yield made


@asynccontextmanager
async def _latchkey(house: House, *words: str, **more: str) -> AsyncIterator[Process]:
    env = {"PATH": os.environ["PATH"], "LATCHKEY_HOME": "/nowhere", **house.realm.admin, **more}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "infra.cli", *words),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _told(house: House, *words: str, **more: str) -> tuple[int | None, str]:
    async with _latchkey(house, *words, **more) as process:
        told, _ = await process.communicate()
    return process.returncode, told.decode()


@asynccontextmanager
async def _caught_in_the_middle(house: House, gate: Gate) -> AsyncIterator[Process]:
    """A check that has its scratch tables, and waits for a stream that stalls."""
    gate.freeze()
    async with _latchkey(house, *_REBUILD, **{_ANALYST: gate.before(house.realm.admin[_ANALYST])}) as process:
        async with asyncio.timeout(20):
            while not await house.scratch():
                await asyncio.sleep(0.05)
        yield process


@pytest.fixture
async def gate(house: House) -> AsyncIterator[Gate]:
    async with open_gate(house.realm.admin[_ANALYST]) as made:
        yield made


async def test_while_runs_go_on(house: House) -> None:
    users = [f"user-{token_hex(4)}" for _ in range(5)]

    async def spend() -> None:
        while True:
            for user in users:
                await house.grant(user, 5_000)
                held = [await house.authorize(user) for _ in range(4)]
                await house.report(*held, usage_event(user_id=user, cost_micros=COST))
                await asyncio.sleep(0.02)

    spending = asyncio.create_task(spend())
    ends = []
    try:
        for _ in range(2):
            await asyncio.sleep(0.3)
            rebuilt, found = await house.check(wait_s=20)
            assert found == []
            assert rebuilt.checkpoint is not None
            assert rebuilt.checkpoint < rebuilt.end
            ends.append(rebuilt.end)
    finally:
        spending.cancel()
        await asyncio.wait([spending])
    assert spending.cancelled()
    assert ends == sorted(set(ends)), "there was something new each time"
    await house.quiet()
    code, told = await _told(house, *_REBUILD)
    assert code == 0, told
    assert "the same as the tables" in told
    assert len(told.splitlines()) == 1


async def test_a_difference_is_told_by_id_and_by_the_exit_code(house: House) -> None:
    await house.grant("ada", 1_000)
    change = """
    UPDATE billing.accounts SET posted_micros = posted_micros + 1 WHERE user_id = 'ada' AND kind = 'user'
    """
    async with house.tampered(change):
        code, told = await _told(house, *_REBUILD)
        assert code == 1
        assert "a balance differs: account user of ada: kept 1001 micros, rebuilt 1000 micros" in told
        code, told = await _told(house, "ledger", "verify")
        assert code == 1
        assert "posted differs from transfers" in told
    code, told = await _told(house, "ledger", "verify")
    assert (code, "it adds up" in told, len(told.splitlines())) == (0, True, 1)


async def test_killed_it_leaves_what_the_next_one_removes(house: House, gate: Gate) -> None:
    async with _caught_in_the_middle(house, gate) as process:
        process.kill()
        await process.wait()
    assert await house.scratch() == ["ledger_rebuild"]
    assert (await house.check())[1] == []
    assert await house.scratch() == []


async def test_interrupted_it_leaves_nothing_and_has_told_nothing(house: House, gate: Gate) -> None:
    async with _caught_in_the_middle(house, gate) as process:
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 130
    assert await house.scratch() == []


async def test_without_a_stream_or_a_database_it_cannot_be_told(house: House, gate: Gate) -> None:
    await gate.close()
    code, told = await _told(house, *_REBUILD, **{_ANALYST: gate.before(house.realm.admin[_ANALYST])})
    assert (code, "it cannot be told" in told, len(told.splitlines())) == (2, True, 1)
    away = gate.before(house.postgres_url)
    for words in (_REBUILD, ("ledger", "verify")):
        code, told = await _told(house, *words, LATCHKEY_POSTGRES_URL=away)
        assert (code, "it cannot be told" in told, len(told.splitlines())) == (2, True, 1)
    assert await house.scratch() == []


async def test_forged_events_are_told_and_count_for_nothing(house: House) -> None:
    """By whoever got hold of the broker's administrator, who can publish all but another's name."""
    granted = CreditsGranted(transfer_id=new_id(), user_id="eve", amount_micros=5, granted_by="eve")
    used = usage_event(user_id="eve", cost_micros=COST)
    forged = [enveloped(message, source="billing") for message in (granted, used)]
    await _forge(house, (granted, encoded(forged[0])), (used, encoded(forged[1])), (granted, b"no event"))
    await house.quiet()
    rebuilt, found = await house.check(wait_s=1)
    wanted = [f"{event.type} {event.id}" for event in forged]
    assert [difference.subject for difference in found] == sorted([*wanted, "no event"])
    assert {difference.what for difference in found} == {
        "not published by the service whose event it is; not counted"
    }
    assert rebuilt.checkpoint == rebuilt.end - 1, "the ledger is as it should be"
    code, told = await _told(house, *_REBUILD)
    assert (code, told.count("not counted")) == (1, 3)


async def test_what_billing_never_recorded_is_a_difference_until_it_is_accepted(house: House) -> None:
    """As after somebody emptied the dead letters."""
    _, before = await house.check(wait_s=1)
    unkept = usage_event(user_id="ada", model="openai/\x00", cost_micros=COST)
    lost = CreditsGranted(transfer_id=new_id(), user_id="ada", amount_micros=5, granted_by="root")
    await house.worker.publish(unkept, event_id=str(unkept.usage_id))
    billing = house.realm.bus(BILLING)
    await billing.start()
    await billing.publish(lost)
    await billing.stop()
    rebuilt, found = await house.check(wait_s=1)
    assert rebuilt.checkpoint is None
    assert {(difference.what, difference.subject) for difference in set(found) - set(before)} == {
        ("published, but not as its contract says", f"{unkept.event_type()} {unkept.usage_id}"),
        ("published, but never posted", f"transfer {lost.transfer_id} grant"),
        ("a balance differs", "account user of ada"),
        ("a balance differs", "account grants"),
    }
    assert (await house.check(wait_s=0, accept=True))[0].checkpoint == rebuilt.end - 1
    later, found = await house.check(wait_s=0)
    assert (found, later.start) == ([], rebuilt.end), "what was accepted is not told again"


async def _forge(house: House, *events: tuple[Message, bytes]) -> None:
    async with await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        exchange = await (await connection.channel()).get_exchange("usage", ensure=False)
        for message, body in events:
            await exchange.publish(aio_pika.Message(body), message.ROUTING_KEY)

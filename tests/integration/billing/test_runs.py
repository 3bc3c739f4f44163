"""Runs as the other services see them: held, settled, swept, through replicas and outages."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import asyncpg
import pytest
from aio_pika.abc import AbstractChannel

from shared.contracts.billing import GetReceipt, ListUsage, Receipt, RunAuthorized, UsagePage
from shared.contracts.credits import CreditsCharged, CreditsGranted
from shared.contracts.prices import PriceSet, PriceSpec, RateSpec, SetPrice
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import (
    DatabaseUnavailableError,
    InsufficientCreditsError,
    InvalidRequestError,
    PlatformError,
)
from shared.kernel.names import KeySource
from shared.runtime.bus import Bus
from tests.fakes.billing import authorization, usage_event
from tests.gate import Gate
from tests.integration.billing.conftest import Edge, Start, dead, report, stream, until
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

_WORST = 450
"""What `authorization()` holds and `usage_event()` costs at gpt-4o-mini's 0.15 and 0.60 US$, in micros."""


async def _authorize(worker: Bus, user_id: str, **changes: Any) -> RunAuthorized | PlatformError:
    request = authorization(user_id=user_id, **changes)
    try:
        return await worker.rpc.call(request, RunAuthorized, timeout_s=20)
    except PlatformError as error:
        return error


async def _held_run(worker: Bus, user_id: str) -> UsageRecorded:
    event = usage_event(user_id=user_id)
    assert isinstance(await _authorize(worker, user_id, run_id=event.run_id), RunAuthorized)
    return event


async def _faults(database: "asyncpg.Connection[Any]") -> list[Any]:
    return await database.fetch("SELECT * FROM billing.ledger_faults")


async def test_of_a_thousand_runs_at_once_a_balance_for_a_hundred_carries_a_hundred(
    start: Start, edge: Edge, worker: Bus
) -> None:
    """Through two replicas."""
    async with start(), start():
        await edge.grant(100 * _WORST)
        answers = await asyncio.gather(*(_authorize(worker, edge.user_id) for _ in range(1_000)))
        assert sum(isinstance(answer, RunAuthorized) for answer in answers) == 100
        assert sum(isinstance(answer, InsufficientCreditsError) for answer in answers) == 900
        assert await edge.balance() == (100 * _WORST, 100 * _WORST, 0)


@pytest.mark.usefixtures("billing")
async def test_repeated_and_reordered_deliveries_are_billed_once(
    edge: Edge, worker: Bus, realm: TestRealm, database: "asyncpg.Connection[Any]"
) -> None:
    await edge.grant(1_000_000)
    events = [await _held_run(worker, edge.user_id) for _ in range(30)]
    events += [usage_event(user_id=edge.user_id, key_source=KeySource.USER) for _ in range(30)]
    deliveries = events * 3
    Random(1).shuffle(deliveries)
    await report(worker, *deliveries)
    await edge.until((1_000_000 - 30 * _WORST, 0, 0))
    told = await stream(realm, edge.user_id)
    charges = [event for event in told if event.type == CreditsCharged.event_type()]
    assert sorted(charge.data["usage_id"] for charge in charges) == sorted(
        str(event.usage_id) for event in events[:30]
    )
    assert len({charge.id for charge in charges}) == 30
    assert await _faults(database) == []


async def test_the_stream_rebuilds_the_balance(
    start: Start, edge: Edge, worker: Bus, realm: TestRealm
) -> None:
    """Through two replicas, with usage that no hold covered."""
    async with start(), start():
        for _ in range(3):
            await edge.grant(10_000)
        events = [await _held_run(worker, edge.user_id) for _ in range(20)]
        events += [usage_event(user_id=edge.user_id) for _ in range(5)]
        await report(worker, *events)
        await edge.until((30_000 - 20 * _WORST, 0, 5 * _WORST))
        told = await stream(realm, edge.user_id)
    assert len({event.id for event in told}) == len(told) == 3 + 25 + 25
    granted = [event.data for event in told if event.type == CreditsGranted.event_type()]
    charged = [event.data for event in told if event.type == CreditsCharged.event_type()]
    owed = sum(charge["receivable_micros"] for charge in charged)
    spent = sum(charge["charged_micros"] for charge in charged) - owed
    assert (sum(grant["amount_micros"] for grant in granted) - spent, owed) == (21_000, 5 * _WORST)


@pytest.mark.usefixtures("billing")
async def test_a_hold_is_free_again_after_its_time(edge: Edge, worker: Bus) -> None:
    await edge.grant(1_000)
    event = usage_event(user_id=edge.user_id)
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await _authorize(worker, edge.user_id, run_id=event.run_id, expires_at=soon)
    assert await edge.balance() == (1_000, _WORST, 0)
    await edge.until((1_000, 0, 0))
    assert datetime.now(UTC) - soon < timedelta(seconds=5)
    await report(worker, event)
    await edge.until((1_000, 0, _WORST))


@pytest.mark.usefixtures("billing")
async def test_a_run_is_rated_at_the_price_it_was_authorized_at(edge: Edge, worker: Bus) -> None:
    model = f"openai/{edge.user_id}"

    async def priced(usd: int) -> PriceSet:
        rate = RateSpec(usd=Decimal(usd))
        price = PriceSpec(input=rate, output=rate)
        return await edge.bus.rpc.call(
            SetPrice(model=model, price=price, set_by="root"), PriceSet, timeout_s=10
        )

    first = await priced(10)
    await edge.grant(1_000_000)
    event = usage_event(user_id=edge.user_id, model=model)
    answer = await _authorize(worker, edge.user_id, run_id=event.run_id, model=model)
    assert isinstance(answer, RunAuthorized)
    assert answer.quote is not None
    assert answer.quote.price.version == first.version
    await priced(99)
    await report(worker, event)
    await edge.until((1_000_000 - 15_000, 0, 0))


@pytest.mark.usefixtures("billing")
async def test_receipts_and_pages_over_the_bus(edge: Edge, worker: Bus) -> None:
    events = [usage_event(user_id=edge.user_id, key_source=KeySource.USER) for _ in range(5)]
    await report(worker, *events)

    async def listed() -> int:
        page = await edge.bus.rpc.call(ListUsage(user_id=edge.user_id), UsagePage, timeout_s=10)
        return len(page.items)

    await until(listed, 5)
    request = GetReceipt(user_id=edge.user_id, run_id=events[0].run_id)
    receipt = await edge.bus.rpc.call(request, Receipt, timeout_s=10)
    assert [attempt.usage for attempt in receipt.attempts] == [events[0]]
    with pytest.raises(InvalidRequestError):
        await edge.bus.rpc.call(ListUsage(user_id=edge.user_id, cursor="?"), UsagePage, timeout_s=10)


@pytest.mark.usefixtures("billing")
async def test_without_postgres_usage_waits_and_requests_are_answered(
    edge: Edge, worker: Bus, postgres_gate: Gate, broker: AbstractChannel
) -> None:
    letters = await dead(broker)
    await edge.grant(1_000_000)
    events = [await _held_run(worker, edge.user_id) for _ in range(5)]
    await postgres_gate.close()
    await report(worker, *events)
    with pytest.raises(DatabaseUnavailableError):
        await edge.balance()
    assert isinstance(await _authorize(worker, edge.user_id), DatabaseUnavailableError)
    await asyncio.sleep(6)  # longer than the deliveries of a message that is handed back would last
    await postgres_gate.open()
    await edge.until((1_000_000 - 5 * _WORST, 0, 0))
    assert await dead(broker) == letters

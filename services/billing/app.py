"""Composition root of billing: `python -m services.billing.app`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TypeAlias
from uuid import UUID

from pydantic import Field

from services.billing.adapters.genai_prices_book import GenaiPriceBook
from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.adapters.postgres_outbox import PostgresOutbox
from services.billing.adapters.postgres_prices import PostgresPriceBook
from services.billing.adapters.postgres_usage import PostgresUsageStore
from services.billing.handlers.credits import CreditHandlers
from services.billing.handlers.parts import Parts
from services.billing.handlers.prices import PriceHandlers
from services.billing.handlers.runs import RunHandlers
from services.billing.handlers.usage import BATCH_SIZE, UsageHandler
from services.billing.ports import LedgerStore, Outbox, Outgoing
from services.billing.use_cases.relay_events import relay_events
from shared.contracts.credits import CreditsAdjusted, CreditsCharged, CreditsGranted
from shared.contracts.message import Envelope, Message, read
from shared.contracts.topology import BILLING_RPC, BILLING_USAGE
from shared.kernel.names import BILLING
from shared.kernel.prices import Tariff
from shared.runtime.background import Repeating, in_background
from shared.runtime.bus import Bus
from shared.runtime.logs import configure_logging, get_logger
from shared.runtime.postgres import Pool, create_pool
from shared.runtime.process import run
from shared.runtime.rpc import RequestBus, RpcServer
from shared.runtime.settings import ServiceSettings

_RPC_AT_ONCE = 128
_EVERY_S = 1.0


class BillingSettings(ServiceSettings):
    """`LATCHKEY_CREDIT_USD`: US$ per credit. `LATCHKEY_MARKUP`: what costs are multiplied by."""

    credit_usd: Decimal = Field(default=Tariff().credit_usd, gt=0)
    markup: Decimal = Field(default=Tariff().markup, ge=0)


MakeLedger: TypeAlias = Callable[[Pool], LedgerStore]


@asynccontextmanager
async def serving(
    settings: BillingSettings, make_ledger: MakeLedger = PostgresLedgerStore
) -> AsyncIterator[Bus]:
    """Serve while in the context; it begins once Postgres and RabbitMQ are there."""
    bus = Bus(settings.amqp_url, service=BILLING, instance=settings.instance, realm=settings.realm)
    async with await create_pool(settings.postgres_url) as pool:
        ledger = make_ledger(pool)
        prices = PostgresPriceBook(pool, under=GenaiPriceBook())
        relay = _relay(PostgresOutbox(pool), bus)
        parts = Parts(
            ledger=ledger,
            credits=PostgresCreditStore(pool),
            usage=PostgresUsageStore(pool),
            prices=prices,
            price_store=prices,
            tariff=Tariff(settings.credit_usd, settings.markup),
            clock=_now,
            wake=relay.wake,
        )
        listen(bus, parts)
        await prices.refresh()
        refresh = Repeating("refresh prices", prices.refresh, every_s=_EVERY_S)
        try:
            await bus.start()
            async with in_background(relay, _sweep(ledger), refresh):
                try:
                    yield bus
                finally:
                    await bus.drain()
        finally:
            await bus.stop()


def listen(bus: RequestBus, parts: Parts, *, retry_s: float = 1.0) -> None:
    """Register the handlers of both queues. Usage is tried again every `retry_s` while Postgres is away."""
    handlers = (RunHandlers(parts), CreditHandlers(parts), PriceHandlers(parts))
    routes = [route for each in handlers for route in each.routes()]
    RpcServer(bus, BILLING_RPC, routes, prefetch=_RPC_AT_ONCE)
    bus.subscribe(BILLING_USAGE, UsageHandler(parts, retry_s=retry_s).on_usage_recorded, prefetch=BATCH_SIZE)


def _relay(outbox: Outbox, bus: Bus) -> Repeating:
    async def relay() -> None:
        await relay_events(outbox=outbox, publish=publish)

    async def publish(events: Sequence[Outgoing]) -> list[UUID]:
        return [await _published(bus, event) for event in events]

    return Repeating("relay events", relay, every_s=_EVERY_S)


_EVENTS: tuple[type[Message], ...] = (CreditsCharged, CreditsGranted, CreditsAdjusted)


async def _published(bus: Bus, event: Outgoing) -> UUID:
    model = next(event_type for event_type in _EVENTS if event.routing_key == event_type.ROUTING_KEY)
    await bus.publish(read(Envelope.decode(event.body.encode()), model), event_id=str(event.event_id))
    return event.event_id


def _sweep(ledger: LedgerStore) -> Repeating:
    async def sweep() -> None:
        expired = await ledger.expire_holds(_now())
        if expired:
            get_logger().info("holds expired", holds=expired)

    return Repeating("sweep holds", sweep, every_s=_EVERY_S)


def _now() -> datetime:
    return datetime.now(UTC)


async def main(make_ledger: MakeLedger = PostgresLedgerStore) -> None:
    settings = BillingSettings.load()
    configure_logging(BILLING, settings.log_level)
    async with serving(settings, make_ledger):
        get_logger().info("ready", instance=settings.instance)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(main)

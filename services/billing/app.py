"""Composition root of billing: `python -m services.billing.app`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final, TypeAlias

from services.billing.adapters.genai_prices_book import GenaiPriceBook
from services.billing.adapters.metered_ledger import MeteredLedger
from services.billing.adapters.postgres_credits import PostgresCreditStore
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.adapters.postgres_outbox import PostgresOutbox
from services.billing.adapters.postgres_prices import PostgresPriceBook
from services.billing.adapters.postgres_usage import PostgresUsageStore
from services.billing.handlers.credits import CreditHandlers
from services.billing.handlers.parts import Parts
from services.billing.handlers.prices import PriceHandlers
from services.billing.handlers.runs import RunHandlers
from services.billing.handlers.usage import UsageHandler
from services.billing.ports import LedgerStore, Outbox, PublishAll
from services.billing.settings import BillingSettings
from services.billing.use_cases.relay_events import relay_events
from shared.contracts.credits import CreditsCharged
from shared.contracts.topology import BILLING_RPC, BILLING_USAGE
from shared.kernel.names import BILLING
from shared.kernel.prices import Tariff
from shared.runtime.background import Repeating, in_background
from shared.runtime.batches import BatchBus
from shared.runtime.bus import Bus
from shared.runtime.logs import configure_logging, get_logger
from shared.runtime.metrics import metrics_served, service_registry
from shared.runtime.otlp import tracing_to
from shared.runtime.postgres import Pool, create_pool
from shared.runtime.process import run
from shared.runtime.rpc import RpcServer
from shared.runtime.tracing import Tracing

_RPC_AT_ONCE = 128
_USAGE_LINGER_MS: Final = 50.0
"""At most so much later than its end is a run's hold released and its receipt final."""
_EVERY_S = 1.0


MakeLedger: TypeAlias = Callable[[Pool], LedgerStore]


@asynccontextmanager
async def serving(
    settings: BillingSettings, make_ledger: MakeLedger = PostgresLedgerStore
) -> AsyncIterator[Bus]:
    """Serve while in the context; it begins once Postgres and RabbitMQ are there."""
    async with tracing_to(settings, BILLING) as tracing, _serving(settings, make_ledger, tracing) as bus:
        yield bus


@asynccontextmanager
async def _serving(
    settings: BillingSettings, make_ledger: MakeLedger, tracing: Tracing
) -> AsyncIterator[Bus]:
    registry = service_registry()
    bus = Bus.of(BILLING, settings, registry=registry, tracing=tracing)
    async with metrics_served(registry, settings.metrics), await create_pool(settings.postgres_url) as pool:
        ledger = MeteredLedger(make_ledger(pool), registry)
        prices = PostgresPriceBook(pool, under=GenaiPriceBook())
        relay = _relay(PostgresOutbox(pool), partial(bus.publish_all, CreditsCharged.EXCHANGE))
        parts = Parts(
            ledger=ledger,
            credits=PostgresCreditStore(pool),
            usage=PostgresUsageStore(pool),
            prices=prices,
            price_store=prices,
            tariff=Tariff(settings.credit_usd, settings.markup),
            now=_now,
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


def listen(bus: BatchBus, parts: Parts, *, retry_s: float = 1.0) -> None:
    """Register the handlers of both queues. Usage is tried again every `retry_s` while Postgres is away."""
    handlers = (RunHandlers(parts), CreditHandlers(parts), PriceHandlers(parts))
    routes = [route for each in handlers for route in each.routes()]
    RpcServer(bus, BILLING_RPC, routes, prefetch=_RPC_AT_ONCE)
    bus.subscribe_batches(
        BILLING_USAGE, UsageHandler(parts, retry_s=retry_s).on_batch, linger_ms=_USAGE_LINGER_MS
    )


def _relay(outbox: Outbox, publish: PublishAll) -> Repeating:
    async def relay() -> None:
        await relay_events(outbox=outbox, publish=publish)

    return Repeating("relay events", relay, every_s=_EVERY_S)


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

"""Composition root of key_vault: `python -m services.key_vault.app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from services.key_vault.adapters.bus_key_events import BusKeyEvents
from services.key_vault.adapters.hpke import load_sealer
from services.key_vault.adapters.memory import KeyMemory
from services.key_vault.adapters.memory_watch import MemoryWatch
from services.key_vault.adapters.postgres_consent import PostgresConsentStore
from services.key_vault.adapters.postgres_marks import PostgresPlatformMarks
from services.key_vault.adapters.postgres_store import PostgresCredentialStore
from services.key_vault.adapters.vault_cipher import VaultCipher
from services.key_vault.adapters.vault_platform_keys import VaultPlatformKeys
from services.key_vault.adapters.vault_sessions import VaultSessionCipher
from services.key_vault.handlers.usage import UsageHandler, has_failed
from services.key_vault.service import Service, build
from services.key_vault.settings import KeyVaultSettings
from shared.contracts.topology import KEY_VAULT_RPC, KEY_VAULT_USAGE, KEYS
from shared.kernel.names import KEY_VAULT
from shared.runtime.background import in_background
from shared.runtime.batches import BatchBus
from shared.runtime.bus import Bus
from shared.runtime.logs import configure_logging, get_logger
from shared.runtime.metrics import metrics_served, service_registry
from shared.runtime.otlp import tracing_to
from shared.runtime.postgres import create_pool
from shared.runtime.process import harden, run
from shared.runtime.rpc import RpcServer
from shared.runtime.tracing import Tracing
from shared.runtime.vault import VaultClient

_VAULT_S: Final = 3
_WATCH_S: Final = 1
_USAGE_LINGER_MS: Final = 100.0
"""So much later than a run's end may its key's last use be told."""
_STATEMENT_S: Final = 2.0
"""Who asks waits five seconds: it is to hear which part is stuck, and not only that key_vault is silent. A
stuck Postgres takes twice this: asyncpg waits as long again for the statement's cancellation."""


def listen(bus: BatchBus, service: Service, *, retry_s: float = 1.0) -> None:
    """Register the handlers of both queues. Usage is noted again every `retry_s` while Postgres is away."""
    RpcServer(bus, KEY_VAULT_RPC, service.requests.routes())
    usage = UsageHandler(service.note_usage, retry_s=retry_s)
    bus.subscribe_batches(KEY_VAULT_USAGE, usage.on_batch, linger_ms=_USAGE_LINGER_MS, urgent=has_failed)


@asynccontextmanager
async def serving(settings: KeyVaultSettings) -> AsyncIterator[Bus]:
    """Serve requests while in the context; it begins once Vault, Postgres and RabbitMQ are all there."""
    async with tracing_to(settings, KEY_VAULT) as tracing, _serving(settings, tracing) as bus:
        yield bus


@asynccontextmanager
async def _serving(settings: KeyVaultSettings, tracing: Tracing) -> AsyncIterator[Bus]:
    vault = VaultClient.of(settings, timeout_s=_VAULT_S)
    registry = service_registry()
    bus = Bus.of(KEY_VAULT, settings, registry=registry, tracing=tracing)
    await vault.start()
    try:
        sealer, pool = await asyncio.gather(
            load_sealer(vault, settings.realm),
            create_pool(settings.postgres_url, command_timeout_s=_STATEMENT_S),
        )
        async with (
            metrics_served(registry, settings.metrics),
            pool,
            _memory(settings, bus) as (memory, watch),
        ):
            key_events = BusKeyEvents(bus)
            service = build(
                sealer=sealer,
                cipher=VaultCipher(vault, mount=f"{settings.realm}_transit"),
                store=PostgresCredentialStore(pool),
                consents=PostgresConsentStore(pool),
                platform_keys=VaultPlatformKeys(vault, mount=settings.realm),
                marks=PostgresPlatformMarks(pool),
                sessions=VaultSessionCipher(vault, mount=f"{settings.realm}_transit"),
                memory=memory,
                confirm=watch.confirm,
                key_events=key_events,
                now=lambda: datetime.now(UTC),
                session_ttl_s=settings.session_key_ttl_s,
            )
            listen(bus, service)
            await bus.start()
            try:
                yield bus
            finally:
                await bus.drain()
                await key_events.finish()
                await bus.stop()
    finally:
        await vault.stop()


@asynccontextmanager
async def _memory(settings: KeyVaultSettings, bus: Bus) -> AsyncIterator[tuple[KeyMemory, MemoryWatch]]:
    """A memory that is kept true. It has a Vault client of its own: a busy Vault is not one that is away."""
    vault = VaultClient.of(settings, timeout_s=_WATCH_S)
    memory = KeyMemory()
    watch = MemoryWatch(memory, vault_is_open=vault.healthy, hears=partial(bus.hears, KEYS))
    bus.on_broadcast(KEYS, watch.on_event)
    bus.on_lost.append(watch.on_lost)
    await vault.start()
    try:
        async with in_background(watch.job()):
            yield memory, watch
    finally:
        await vault.stop()


async def main() -> None:
    harden()
    settings = KeyVaultSettings.load()
    configure_logging(KEY_VAULT, settings.log_level)
    async with serving(settings):
        get_logger().info("ready", instance=settings.instance)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(main)

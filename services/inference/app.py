"""Composition root of inference: `python -m services.inference.app`."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import asyncpg
import httpcore2
from prometheus_client import CollectorRegistry, Gauge

from services.inference.adapters.bus import BusAudience, BusUsageLog, RpcQuoteFinder, RpcRunAuthorizer
from services.inference.adapters.egress import PinningBackend
from services.inference.adapters.http_clients import HttpClients, http_clients
from services.inference.adapters.key_check import HttpKeyChecker
from services.inference.adapters.key_vault import RpcKeyVault
from services.inference.adapters.mapped_responses import MappedResponses
from services.inference.adapters.metered_usage import MeteredUsageLog
from services.inference.adapters.model_lister import HttpModelLister
from services.inference.adapters.openai_provider import OpenAIProvider
from services.inference.adapters.postgres import PostgresAttemptStore
from services.inference.adapters.postgres_outbox import PostgresOutbox
from services.inference.adapters.provider_catalogue import load_providers
from services.inference.adapters.traced_provider import TracedProvider
from services.inference.ports import Provider
from services.inference.service import Inference, Parts
from services.inference.settings import InferenceSettings
from services.inference.use_cases.heart import Heart
from services.inference.use_cases.limits import Limits
from shared.contracts.topology import CONTROL, INFERENCE_RPC, INFERENCE_RUNS, KEYS
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE
from shared.runtime.background import Repeating, in_background
from shared.runtime.bus import Bus
from shared.runtime.logs import configure_logging, get_logger
from shared.runtime.metrics import metrics_served, service_registry
from shared.runtime.otlp import tracing_to
from shared.runtime.postgres import create_pool, until_back
from shared.runtime.process import harden, run
from shared.runtime.rpc import RpcServer
from shared.runtime.tracing import Tracing

_BEAT_S: Final = 2.0
_NOTE_S: Final = 0.5
"""How long what was published waits to be noted, together with others: a worker that is killed meanwhile lets
so much be published twice."""
_SWEEP_S: Final = 3.0
_INTERRUPTED_S: Final = 5.0
"""How long interrupted runs get to write down their ends."""

Build: TypeAlias = Callable[[Parts], Inference]


@asynccontextmanager
async def serving(
    settings: InferenceSettings, outside: PinningBackend | None = None, build: Build = Inference
) -> AsyncIterator[Inference]:
    """Serve runs while in the context; at its end, those in flight get `shutdown_grace_s` to finish.

    `outside`: the way to callers' addresses, the internet unless told otherwise. `build`: makes the service
    of its parts.
    """
    async with (
        tracing_to(settings, INFERENCE) as tracing,
        _serving(settings, outside, build, tracing) as service,
    ):
        yield service


@asynccontextmanager
async def _serving(
    settings: InferenceSettings, outside: PinningBackend | None, build: Build, tracing: Tracing
) -> AsyncIterator[Inference]:
    registry = service_registry()
    pool = await create_pool(settings.postgres_url, command_timeout_s=5)
    grace_s = settings.shutdown_grace_s + _INTERRUPTED_S
    bus = Bus.of(INFERENCE, settings, registry=registry, tracing=tracing, graceful_s=grace_s)
    outside = outside or PinningBackend(httpcore2.AnyIOBackend())
    async with (
        metrics_served(registry, settings.metrics),
        pool,
        http_clients(settings.concurrency, outside) as http,
    ):
        service = build(_parts(settings, bus, pool, http, registry))
        in_flight = Gauge("latchkey_runs_in_flight", "Runs that this worker has.", registry=registry)
        in_flight.set_function(partial(len, service.in_flight))
        bus.subscribe(INFERENCE_RUNS, service.handlers.on_run_requested, prefetch=settings.concurrency)
        RpcServer(bus, INFERENCE_RPC, service.requests.routes())
        bus.on_broadcast(CONTROL, service.handlers.on_control)
        bus.on_broadcast(KEYS, service.handlers.on_key_event)
        async with _beating(service.heart):
            await bus.start()
            try:
                async with _publishing(service):
                    try:
                        yield service
                    finally:
                        await _wind_down(service, bus, settings.shutdown_grace_s)
            finally:
                await bus.stop()


def _parts(
    settings: InferenceSettings,
    bus: Bus,
    pool: "asyncpg.Pool[Any]",
    http: HttpClients,
    registry: CollectorRegistry,
) -> Parts:
    specs = load_providers(settings.base_urls)
    keys = RpcKeyVault(bus.rpc)
    openai_provider = OpenAIProvider(specs, http, idle_timeout_s=settings.provider_idle_timeout_s)
    provider = MappedResponses(openai_provider, specs)
    return Parts(
        store=PostgresAttemptStore(pool, bus.tracing),
        outbox=PostgresOutbox(pool, bus.tracing),
        resolver=keys,
        opener=keys,
        checker=HttpKeyChecker(specs, http),
        lister=HttpModelLister(specs, http),
        authorizer=RpcRunAuthorizer(bus.rpc),
        quote_finder=RpcQuoteFinder(bus.rpc),
        provider=_traced(provider, bus.tracing),
        usage_log=MeteredUsageLog(BusUsageLog(bus), registry),
        audience=BusAudience(bus),
        worker=f"{settings.instance}-{new_id().hex[-8:]}",
        limits=Limits(
            completion_tokens_ceiling=settings.max_tokens_ceiling,
            answer_memory_bytes_max=settings.answer_memory_bytes_max,
            attempts_ttl=timedelta(seconds=settings.attempts_ttl_s),
        ),
    )


def _traced(provider: Provider, tracing: Tracing) -> Provider:
    return TracedProvider(provider, tracing) if tracing.is_on else provider


@asynccontextmanager
async def _beating(heart: Heart) -> AsyncIterator[None]:
    """Beat once before anything is claimed, and on until the end."""
    await until_back(heart.beat, retry_s=_BEAT_S, what="telling that this worker lives")
    async with in_background(Repeating("tell that this worker lives", heart.beat, every_s=_BEAT_S)):
        yield


@asynccontextmanager
async def _publishing(service: Inference) -> AsyncIterator[None]:
    """Note what is published, and publish what others could not."""
    jobs = (
        Repeating("note what was published", service.publish.note, every_s=_NOTE_S),
        Repeating("sweep attempts", service.sweep, every_s=_SWEEP_S),
    )
    async with in_background(*jobs):
        yield
    with suppress(DatabaseUnavailableError):
        await service.publish.note()


async def _wind_down(service: Inference, bus: Bus, grace_s: float) -> None:
    """Take no more; what still runs after `grace_s` ends as interrupted, written down and told."""
    service.in_flight.close()
    get_logger().info("closing", runs=len(service.in_flight))
    late = asyncio.get_running_loop().call_later(grace_s, service.in_flight.interrupt)
    await bus.drain()
    with suppress(TimeoutError):  # runs whose deliveries were lost are nobody's to wait for but ours
        async with asyncio.timeout(grace_s + _INTERRUPTED_S):
            await service.in_flight.wait_for_all()
    late.cancel()


def _clear_sdk_environment() -> None:
    """The SDK sends headers that it finds there, and they would go to callers' addresses as well."""
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        del os.environ[name]


async def main(outside: PinningBackend | None = None, build: Build = Inference) -> None:
    harden()
    _clear_sdk_environment()
    settings = InferenceSettings.load()
    configure_logging(INFERENCE, settings.log_level)
    async with serving(settings, outside, build):
        get_logger().info("ready", instance=settings.instance)
        await asyncio.Event().wait()


if __name__ == "__main__":
    run(main)

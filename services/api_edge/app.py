"""Composition root of the edge: `python -m services.api_edge.app`."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial

import httpx2
from starlette.types import ASGIApp

from services.api_edge.adapters.bus_runs import BusRuns
from services.api_edge.adapters.genai_models import priced_models
from services.api_edge.adapters.jwt_tokens import Expected, JwksJwts, NoJwts, SharedSecretJwts
from services.api_edge.adapters.meters import EdgeMeters
from services.api_edge.adapters.postgres import Database, PostgresTokenStore
from services.api_edge.adapters.postgres_councils import PostgresCouncilStore
from services.api_edge.adapters.postgres_flows import PostgresFlowStore
from services.api_edge.adapters.postgres_preferences import PostgresPreferenceStore
from services.api_edge.adapters.postgres_runs import PostgresRunStore
from services.api_edge.adapters.rate_limits import SlidingWindows
from services.api_edge.adapters.rpc import (
    RpcBilling,
    RpcKeyAdministration,
    RpcKeyValidator,
    RpcKeyVault,
    RpcModelLister,
    RpcPriceAdministration,
)
from services.api_edge.adapters.sealer import VaultSealer
from services.api_edge.api import create_api, shipped_flows
from services.api_edge.domain.run_times import RunTimes
from services.api_edge.handlers.run_ends import BATCH_SIZE, RunEnds
from services.api_edge.parts import EdgePorts, EdgeRules
from services.api_edge.ports import CouncilStore, Probe, RunStore, TokenVerifier
from services.api_edge.serving import serve
from services.api_edge.settings import AuthSettings, EdgeSettings
from services.api_edge.use_cases.forget_runs import ForgetRuns
from services.api_edge.use_cases.sweep_runs import SweepRuns
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts import topology
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT
from shared.runtime.background import Repeating
from shared.runtime.bus import Bus
from shared.runtime.logs import configure_logging, get_logger
from shared.runtime.metrics import metrics_served, service_registry
from shared.runtime.otlp import tracing_to
from shared.runtime.postgres import until_back
from shared.runtime.process import harden, run
from shared.runtime.tracing import Tracing
from shared.runtime.trust import authorities
from shared.runtime.vault import VaultClient
from shared.runtime.watchdog import QueueMissingError

_RETRY_S = 0.5
_SWEEP_S = 60.0
_SERVED_BY = {
    KEY_VAULT: topology.KEY_VAULT_RPC,
    INFERENCE: topology.INFERENCE_RUNS,
    BILLING: topology.BILLING_RPC,
}


@asynccontextmanager
async def edge(settings: EdgeSettings) -> AsyncIterator[ASGIApp]:
    """The application on its real parts. It answers at once; parts that are away are waited for meanwhile."""
    async with tracing_to(settings, API_EDGE) as tracing, _traced_edge(settings, tracing) as app:
        yield app


@asynccontextmanager
async def _traced_edge(settings: EdgeSettings, tracing: Tracing) -> AsyncIterator[ASGIApp]:
    vault = VaultClient.of(settings)
    registry = service_registry()
    bus = Bus.of(API_EDGE, settings, registry=registry, tracing=tracing)
    database = Database()
    sealer = VaultSealer(vault, settings.realm)
    waiting = WaitingRuns(settings.runs_in_flight_max)
    meters = EdgeMeters(registry, waiting.__len__)
    runs, store = BusRuns(bus, waiting), PostgresRunStore(database)
    bus.subscribe_batches(topology.API_EDGE_RUNS, RunEnds(store).on_ended, size=BATCH_SIZE)
    councils = PostgresCouncilStore(database)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(metrics_served(registry, settings.metrics))
        http = await stack.enter_async_context(httpx2.AsyncClient(verify=authorities()))
        stack.push_async_callback(bus.stop)
        stack.push_async_callback(database.close)
        stack.push_async_callback(vault.stop)
        stack.push_async_callback(runs.settle)
        await vault.start()
        serving = _connect_and_sweep(settings, bus, database, _jobs(settings, store, councils))
        await stack.enter_async_context(_meanwhile(serving, sealer.keep_key()))
        yield create_api(
            EdgePorts(
                runs=store,
                councils=councils,
                flows=PostgresFlowStore(database),
                tokens=PostgresTokenStore(database),
                jwt=_verifier(settings.auth, http),
                sealer=sealer,
                bus=runs,
                waiting=waiting,
                key_vault=RpcKeyVault(bus.rpc, timeout_s=settings.rpc_timeout_s),
                administration=RpcKeyAdministration(bus.rpc, timeout_s=settings.rpc_timeout_s),
                validator=RpcKeyValidator(bus.rpc, timeout_s=settings.validate_timeout_s),
                billing=RpcBilling(bus.rpc, timeout_s=settings.rpc_timeout_s),
                prices=RpcPriceAdministration(bus.rpc, timeout_s=settings.rpc_timeout_s),
                preferences=PostgresPreferenceStore(database),
                ask_models=RpcModelLister(bus.rpc),
                priced_models=priced_models,
                rates=SlidingWindows(settings.limits.per_minute),
                queued_runs=partial(bus.waiting, topology.INFERENCE_RUNS),
                probes=_probes(bus, vault, database),
                note_request=meters.request,
                tracing=tracing,
            ),
            _rules(settings),
        )


async def main() -> None:
    harden()
    settings = EdgeSettings.load()
    configure_logging(API_EDGE, settings.log_level)
    async with edge(settings) as app:
        await serve(app, settings.http)


async def _connect_and_sweep(
    settings: EdgeSettings, bus: Bus, database: Database, jobs: Sequence[Repeating]
) -> None:
    await asyncio.gather(bus.start(), _connect_database(settings, database))
    get_logger().info("ready", instance=settings.instance)
    await asyncio.gather(*(job.run() for job in jobs))


async def _connect_database(settings: EdgeSettings, database: Database) -> None:
    """And put in the flows that are shipped."""
    await database.connect(settings.postgres_url)
    seed = partial(PostgresFlowStore(database).seed, tuple(shipped_flows()))
    await until_back(seed, retry_s=_RETRY_S, what="putting in the flows")


@asynccontextmanager
async def _meanwhile(*jobs: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """Run jobs beside the body; one that fails ends it, and the process with it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job) for job in jobs]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()


def _jobs(settings: EdgeSettings, runs: RunStore, councils: CouncilStore) -> tuple[Repeating, ...]:
    """What an edge does by itself, beside the others."""
    sweep = SweepRuns(runs, councils, kept_for=timedelta(seconds=settings.results_ttl_s))
    jobs = (Repeating("sweep runs", sweep, every_s=_SWEEP_S),)
    if settings.runs_ttl_s is None:
        return jobs
    forget = ForgetRuns(runs, councils, after=timedelta(seconds=settings.runs_ttl_s))
    return (*jobs, Repeating("forget old runs", forget, every_s=_SWEEP_S))


def _verifier(auth: AuthSettings, http: httpx2.AsyncClient) -> TokenVerifier:
    expected = Expected(auth.issuer, auth.audience)
    if auth.jwks_url is not None:
        return JwksJwts(http, auth.jwks_url, auth.algorithms, expected)
    return NoJwts() if auth.jwt_secret is None else SharedSecretJwts(auth.jwt_secret, expected)


def _probes(bus: Bus, vault: VaultClient, database: Database) -> Mapping[str, Probe]:
    async def is_connected() -> bool:
        return bus.connected

    async def is_served(queue: str) -> bool:
        try:
            return await bus.consumers(queue) > 0
        except QueueMissingError:
            return False

    parts: dict[str, Probe] = {
        "rabbitmq": is_connected,
        "vault": vault.healthy,
        "postgres": database.answers,
    }
    return {**parts, **{service: partial(is_served, queue) for service, queue in _SERVED_BY.items()}}


def _rules(settings: EdgeSettings) -> EdgeRules:
    return EdgeRules(
        times=RunTimes(settings.start_timeout_s, settings.run_timeout_s),
        body_bytes_max=settings.body_bytes_max,
        settings_url=settings.settings_url,
        cors_origins=settings.http.cors_origins,
        is_open=settings.auth_mode == "open",
        runs_at_once_max=settings.limits.runs_at_once,
        hearings_at_once_max=settings.limits.hearings_at_once,
        sizes=settings.limits.sizes,
        queue_runs_max=settings.queue_runs_max,
    )


if __name__ == "__main__":
    run(main)

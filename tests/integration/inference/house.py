"""Around inference: an edge that waits, a key_vault and a billing that answer; and workers as processes."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from shared.contracts.billing import AuthorizeRun, RunAuthorized
from shared.contracts.key_events import KeyRevoked
from shared.contracts.message import read
from shared.contracts.prices import FindPrice, PriceFound
from shared.contracts.resolving import KeyOpened, KeyResolved, OpenKey, ResolveKey
from shared.contracts.runs import (
    CancelRun,
    RunChunk,
    RunCompleted,
    RunFailed,
    RunProgress,
    RunRequested,
    RunStarted,
)
from shared.contracts.sealed import SealBinding
from shared.contracts.topology import BILLING_RPC, BILLING_USAGE, KEY_VAULT_RPC
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import PlatformError, UserApiKeyRequiredError
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE, KeySource
from shared.kernel.prices import Quote
from shared.kernel.secret import SecretText
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import Route, RpcServer
from shared.runtime.sealing import seal
from tests.nursery import Nursery
from tests.parts import Part

_PROGRESS: Mapping[str, type[RunProgress]] = {
    kind.event_type(): kind for kind in (RunStarted, RunChunk, RunCompleted, RunFailed)
}


class Edge:
    """Asks for runs and keeps what it is told of each."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.told: dict[UUID, list[RunProgress]] = {}
        bus.on_reply(self._on_reply)

    def _on_reply(self, delivery: Delivery) -> None:
        progress: RunProgress = read(delivery.envelope, _PROGRESS[delivery.envelope.type])
        self.told.setdefault(progress.run_id, []).append(progress)

    async def ask(self, request: RunRequested) -> UUID:
        await self.bus.publish(request)
        return request.run_id

    async def cancel(self, run_id: UUID) -> None:
        await self.bus.publish(CancelRun(run_id=run_id))

    def kinds(self, run_id: UUID) -> list[str]:
        return [type(progress).__name__ for progress in self.told.get(run_id, [])]

    async def ended(self, run_id: UUID, within_s: float = 20) -> RunCompleted | RunFailed:
        """Wait for a run's end."""
        async with asyncio.timeout(within_s):
            while True:
                for progress in self.told.get(run_id, []):
                    if isinstance(progress, RunCompleted | RunFailed):
                        return progress
                await asyncio.sleep(0.01)


def credential_id_of(secret: str) -> UUID:
    return uuid5(NAMESPACE_OID, secret)


@dataclass
class KeyVault:
    """Hands out `keys` in order, sealed; none left is `user_api_key_required`.

    `entered` is what it opens to be validated, with its base URL, after `delay_s`.
    """

    bus: Bus
    keys: list[tuple[KeySource, str]] = field(default_factory=list)
    refusal: PlatformError | None = None
    entered: tuple[str, str | None] = ("", None)
    delay_s: float = 0

    async def resolve(self, query: ResolveKey) -> KeyResolved:
        if self.refusal is not None:
            raise self.refusal
        for source, secret in self.keys:
            credential_id = str(credential_id_of(secret))
            if credential_id not in query.excluding:
                return self._sealed(query, source, credential_id, SecretText(secret))
        raise UserApiKeyRequiredError("this needs a key of your own")

    def _sealed(
        self, query: ResolveKey, source: KeySource, credential_id: str, secret: SecretText
    ) -> KeyResolved:
        binding = SealBinding(
            purpose="resolve",
            run_id=query.run_id,
            attempt=query.attempt,
            user_id=query.user_id,
            credential_id=credential_id,
            service=query.provider,
            expires_at=datetime.now(UTC) + timedelta(seconds=30),
        )
        return KeyResolved(
            credential_id=credential_id,
            source=source,
            service=query.provider,
            sealed=seal(secret, query.worker_public_key, binding),
        )

    async def open(self, query: OpenKey) -> KeyOpened:
        if self.refusal is not None:
            raise self.refusal
        await asyncio.sleep(self.delay_s)
        secret, base_url = self.entered
        binding = SealBinding(
            purpose="open",
            run_id=query.validation_id,
            user_id=query.user_id,
            service=query.service,
            base_url=base_url,
            expires_at=datetime.now(UTC) + timedelta(seconds=30),
        )
        sealed = seal(SecretText(secret), query.worker_public_key, binding)
        return KeyOpened(service=query.service, sealed=sealed, base_url=base_url)

    async def revoke(self, secret: str) -> None:
        """Tell the world; whoever is asked from now on has no such key."""
        self.keys = [(source, kept) for source, kept in self.keys if kept != secret]
        await self.bus.publish(KeyRevoked(user_id="ann", credential_id=credential_id_of(secret)))

    def serve(self) -> None:
        routes = [Route(ResolveKey, self.resolve, (INFERENCE,)), Route(OpenKey, self.open, (INFERENCE,))]
        RpcServer(self.bus, KEY_VAULT_RPC, routes)


@dataclass
class Billing:
    """Allows every hold and keeps the usage events, each with how often it came. `quote`: of every model."""

    quote: Quote | None = None
    priced: list[FindPrice] = field(default_factory=list)
    refusal: PlatformError | None = None
    asked: list[AuthorizeRun] = field(default_factory=list)
    usage: list[UsageRecorded] = field(default_factory=list)

    async def authorize(self, ask: AuthorizeRun) -> RunAuthorized:
        self.asked.append(ask)
        if self.refusal is not None:
            raise self.refusal
        return RunAuthorized(hold_micros=1, expires_at=ask.expires_at, quote=self.quote)

    async def price(self, ask: FindPrice) -> PriceFound:
        self.priced.append(ask)
        return PriceFound(quote=self.quote)

    async def on_usage(self, delivery: Delivery) -> None:
        usage = delivery.read(UsageRecorded, senders=(INFERENCE,))
        assert delivery.envelope.id == str(usage.usage_id)
        self.usage.append(usage)

    def of(self, run_id: UUID) -> list[UsageRecorded]:
        """The run's events by attempt, repeated ones once; equal ids must be equal events."""
        found: dict[UUID, UsageRecorded] = {}
        for usage in self.usage:
            if usage.run_id == run_id:
                assert found.setdefault(usage.usage_id, usage) == usage
        return sorted(found.values(), key=lambda usage: usage.attempt)

    async def recorded(self, run_id: UUID, *, attempts: int = 1, within_s: float = 20) -> list[UsageRecorded]:
        """The run's events, once there are so many; the last one comes after the client has its end."""
        async with asyncio.timeout(within_s):
            while len(found := self.of(run_id)) < attempts:
                await asyncio.sleep(0.01)
        return found

    def serve(self, bus: Bus) -> None:
        routes = [
            Route(AuthorizeRun, self.authorize, (INFERENCE,)),
            Route(FindPrice, self.price, (INFERENCE,)),
        ]
        RpcServer(bus, BILLING_RPC, routes)
        bus.subscribe(BILLING_USAGE, self.on_usage, prefetch=100)


@dataclass
class WorkerProcess:
    """What `python -m services.inference.app` is."""

    part: Part

    @property
    def lines(self) -> list[str]:
        """Its log so far."""
        return self.part.log_of_this_life().splitlines(keepends=True)

    async def until(self, event: str, within_s: float = 20) -> dict[str, Any]:
        """Wait for a log line."""
        async with asyncio.timeout(within_s):
            while True:
                for line in self.lines:
                    if line.startswith("{") and line.endswith("\n") and event in line:
                        said: dict[str, Any] = json.loads(line)
                        if said["event"] == event:
                            return said
                assert self.part.is_running, "".join(self.lines)
                await asyncio.sleep(0.02)

    async def kill(self) -> None:
        await self.part.kill()

    async def terminate(self, within_s: float = 40) -> int:
        return await asyncio.wait_for(self.part.stop(), within_s)


StartWorker = Callable[..., Awaitable[WorkerProcess]]
StartingWorkers = Callable[[str], AbstractAsyncContextManager[StartWorker]]


@asynccontextmanager
async def worker_process(
    parents: Nursery, env: Mapping[str, str], folder: Path
) -> AsyncIterator[WorkerProcess]:
    """A worker that is ready; killed at the end when it still runs. Its log goes into the folder."""
    log = folder / f"{INFERENCE}-{new_id().hex[-8:]}.log"
    part = Part(parents, INFERENCE, "services.inference.app", env=env, log=log)
    await part.start()
    try:
        await part.until_ready()
        yield WorkerProcess(part)
    finally:
        await part.kill()

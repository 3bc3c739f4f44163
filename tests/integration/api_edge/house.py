"""The edge on real servers over real HTTP, with the three other services played by the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import httpx2
import openai
from pydantic import BaseModel

from services.api_edge.app import edge
from services.api_edge.serving import serve
from services.api_edge.settings import EdgeSettings
from shared.contracts import topology
from shared.contracts.billing import GetReceipt, ListUsage
from shared.contracts.consent import ChangeUserSettings, GetUserSettings
from shared.contracts.credits import AdjustCredits, DeductCredits, GetBalance, GrantCredits, ListStatement
from shared.contracts.keys import (
    GetKeyStatus,
    IssueSessionKey,
    KeysRevoked,
    ListKeys,
    ReplaceKey,
    RevokeKey,
    RevokeKeys,
    RewrapKeys,
    StoreKey,
    UpdateKey,
)
from shared.contracts.platform_keys import ListPlatformKeys, MendPlatformKey
from shared.contracts.runs import CancelRun, RunChunk, RunCompleted, RunRequested, RunStarted
from shared.contracts.sealed import RequestKey, SealBinding, SealedKey
from shared.contracts.validation import KeyValidated, ValidateKey
from shared.kernel.names import API_EDGE, KeySource
from shared.kernel.secret import SecretText
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import Route, RpcServer
from shared.runtime.sealing import KeyPair
from tests.fakes.api_edge_billing import InMemoryBilling
from tests.fakes.api_edge_keys import InMemoryKeyAdministration, InMemoryKeyValidator, InMemoryKeyVault
from tests.fakes.api_edge_worker import RESPONSE, chunk
from tests.loopback import http_client
from tests.waiting import until


class Worker:
    """Plays inference: a test says what it tells."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.requested: list[RunRequested] = []
        self._since = datetime.now(UTC)
        self.cancelled: asyncio.Queue[UUID] = asyncio.Queue()
        self.serve: Callable[[RunRequested], Awaitable[None]] = self.answer
        bus.subscribe(topology.INFERENCE_RUNS, self._on_run, prefetch=50)
        bus.on_broadcast(topology.CONTROL, self._on_control)

    async def answer(self, run: RunRequested) -> None:
        """All goes well."""
        await self.start(run)
        if run.stream:
            await self.say(run, 1, chunk("Hel"), chunk("lo"))
            await self.bus.relay(
                RunCompleted(run_id=run.run_id, seq=2, key_source=KeySource.USER), run.reply_to
            )
        else:
            end = RunCompleted(run_id=run.run_id, seq=1, key_source=KeySource.USER, response=RESPONSE)
            await self.bus.relay(end, run.reply_to)

    async def start(self, run: RunRequested) -> None:
        started = RunStarted(run_id=run.run_id, seq=0, attempt=1, key_source=KeySource.USER)
        await self.bus.relay(started, run.reply_to)

    async def say(self, run: RunRequested, seq: int, *texts: str) -> None:
        await self.bus.relay(RunChunk(run_id=run.run_id, seq=seq, chunks=texts), run.reply_to)

    async def is_silent(self, run: RunRequested) -> None:
        """Takes a run and never says a word."""

    async def _on_run(self, delivery: Delivery) -> None:
        run = delivery.read(RunRequested, senders=(API_EDGE,))
        if run.requested_at >= self._since:  # not what an earlier test left in the queue
            self.requested.append(run)
            await self.serve(run)

    async def _on_control(self, delivery: Delivery) -> None:
        self.cancelled.put_nowait(delivery.read(CancelRun, senders=(API_EDGE,)).run_id)


class KeyVault:
    """Plays key_vault: opens what it is sent with the realm's private key."""

    def __init__(self, bus: Bus, private_key: SecretText) -> None:
        self.store = InMemoryKeyVault()
        self.administration = InMemoryKeyAdministration(self.store)
        self.opened: list[str] = []
        self._pair = KeyPair.from_private(private_key)
        RpcServer(bus, topology.KEY_VAULT_RPC, [*self._routes(), *self._admin_routes()])

    def open_request_key(self, run: RunRequested) -> str:
        """Return the key sent with a run, as key_vault opens it."""
        assert run.request_key is not None
        return self._open_sent(run, run.request_key)

    def open_session_key(self, run: RunRequested) -> str:
        """Return the session token sent with a run, as key_vault opens it."""
        assert run.session_key is not None
        return self._open_sent(run, run.session_key)

    def _open_sent(self, run: RunRequested, key: RequestKey) -> str:
        return self._open(
            key.sealed,
            purpose="request",
            user_id=run.user_id,
            service=key.service,
            run_id=run.run_id,
            base_url=key.base_url,
        )

    def open_for_validation(self, ask: ValidateKey) -> str:
        """Return a key just entered, as key_vault opens it for the worker that asks its provider."""
        assert ask.sealed is not None
        return self._open(
            ask.sealed,
            purpose="validate",
            user_id=ask.user_id,
            service=ask.service,
            run_id=ask.validation_id,
            base_url=ask.base_url,
        )

    def _routes(self) -> list[Route]:
        asked = (
            (StoreKey, self._store),
            (ReplaceKey, self._replace),
            (UpdateKey, self.store.update),
            (ListKeys, lambda query: self.store.list(query.user_id)),
            (RevokeKey, self._revoke),
            (IssueSessionKey, self._issue_session),
            (GetUserSettings, lambda query: self.store.settings(query.user_id)),
            (ChangeUserSettings, self.store.change_settings),
            (GetKeyStatus, lambda query: self.store.status(query.user_id)),
        )
        return [Route(request, handle, (API_EDGE,)) for request, handle in asked]

    def _admin_routes(self) -> list[Route]:
        admin = self.administration
        asked = (
            (ListPlatformKeys, lambda _: admin.platform_keys()),
            (MendPlatformKey, lambda command: admin.mend_platform_key(command.credential_id)),
            (RevokeKeys, self._revoke_all),
            (RewrapKeys, lambda command: admin.rewrap(command.limit)),
        )
        return [Route(request, handle, (API_EDGE,)) for request, handle in asked]

    def _open(self, sealed: SealedKey, **bound: Any) -> str:
        return self._pair.open(sealed, SealBinding(expires_at=sealed.expires_at, **bound)).reveal()

    def _open_to_keep(self, command: StoreKey | ReplaceKey) -> str:
        return self._open(
            command.sealed,
            purpose="store",
            user_id=command.user_id,
            service=command.service,
            credential_id=str(command.credential_id),
            base_url=command.base_url,
        )

    async def _store(self, command: StoreKey) -> BaseModel:
        self.opened.append(self._open_to_keep(command))
        return await self.store.store(command)

    async def _replace(self, command: ReplaceKey) -> BaseModel:
        self.opened.append(self._open_to_keep(command))
        return await self.store.replace(command)

    async def _issue_session(self, command: IssueSessionKey) -> BaseModel:
        bound = {"user_id": command.user_id, "service": command.service, "base_url": command.base_url}
        self.opened.append(self._open(command.sealed, purpose="session", **bound))
        return await self.store.issue_session(command)

    async def _revoke(self, command: RevokeKey) -> BaseModel:
        await self.store.revoke(command.user_id, command.credential_id)
        return KeysRevoked(credential_ids=(command.credential_id,))

    async def _revoke_all(self, command: RevokeKeys) -> BaseModel:
        return KeysRevoked(credential_ids=await self.administration.revoke_all(command))


class Validator:
    """Plays the part of inference that asks providers about keys: it learns the key as a worker would."""

    def __init__(self, bus: Bus, key_vault: KeyVault) -> None:
        self.asked = InMemoryKeyValidator()
        self.seen: list[str] = []
        self.is_silent = False
        self._key_vault = key_vault
        RpcServer(bus, topology.INFERENCE_RPC, [Route(ValidateKey, self._validate, (API_EDGE,))])

    async def _validate(self, ask: ValidateKey) -> BaseModel:
        if ask.sealed is not None:
            self.seen.append(self._key_vault.open_for_validation(ask))
        while self.is_silent:
            await asyncio.sleep(0.05)
        return KeyValidated(verdict=await self.asked.validate(ask))


class Billing:
    """Plays billing, in memory."""

    def __init__(self, bus: Bus) -> None:
        self.store = InMemoryBilling()
        callers = (API_EDGE,)
        routes = [
            Route(GrantCredits, self.store.grant, callers),
            Route(AdjustCredits, self.store.adjust, callers),
            Route(DeductCredits, self.store.deduct, callers),
            Route(GetBalance, lambda query: self.store.balance(query.user_id), callers),
            Route(GetReceipt, lambda query: self.store.receipt(query.user_id, query.run_id), callers),
            Route(ListUsage, self.store.usage, callers),
            Route(ListStatement, lambda q: self.store.statement(q.user_id, q.limit, q.cursor), callers),
        ]
        RpcServer(bus, topology.BILLING_RPC, routes)


@dataclass
class House:
    url: str
    worker: Worker
    key_vault: KeyVault
    validator: Validator
    billing: Billing
    buses: tuple[Bus, ...] = field(repr=False)

    def client(self, token: str) -> httpx2.AsyncClient:
        headers = {"authorization": f"Bearer {token}"}
        return http_client(base_url=self.url, headers=headers, timeout=20)

    def sdk(self, token: str) -> openai.AsyncOpenAI:
        http = http_client(timeout=20)
        return openai.AsyncOpenAI(api_key=token, base_url=f"{self.url}/v1", http_client=http, max_retries=0)


@asynccontextmanager
async def serving_edge(settings: EdgeSettings) -> AsyncIterator[None]:
    """The edge, answering on its port."""
    async with edge(settings) as app:
        task = asyncio.create_task(serve(app, settings.http))
        try:
            await until(lambda: _answers(f"http://127.0.0.1:{settings.http.port}/healthz"))
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _answers(url: str) -> bool:
    async with http_client() as client:
        try:
            return (await client.get(url)).is_success
        except httpx2.TransportError:
            return False

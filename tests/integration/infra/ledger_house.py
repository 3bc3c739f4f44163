"""A realm in which billing runs, with people who spend; and the auditor's look at it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from infra.event_stream import EventStream
from infra.ledger.differences import Difference
from infra.ledger.rebuild import Rebuilt, rebuild
from infra.ledger.replay import Stream
from infra.ledger.verify import verify
from services.billing.app import serving
from services.billing.settings import BillingSettings
from shared.contracts.billing import RunAuthorized
from shared.contracts.credits import AdjustCredits, CreditsMoved, DeductCredits, GrantCredits
from shared.contracts.rpc import Request
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KeyPolicy, KeySource, Outcome, TokensSource
from shared.runtime.bus import Bus
from tests.fakes.billing import authorization, usage_event
from tests.realm import TestRealm

COST: Final = 450
"""What `usage_event()` costs at gpt-4o-mini's price."""
_RPC_S: Final = 10.0
_QUIET_S: Final = 20.0
_UNKNOWN: Final = TokenCounts(source=TokensSource.UNKNOWN)
_ESTIMATED: Final = TokenCounts(prompt=10, completion=5, source=TokensSource.ESTIMATED)


@dataclass
class House:
    """`edge` and `worker` are what billing's callers are; `database` is the administrator's."""

    realm: TestRealm
    edge: Bus
    worker: Bus
    database: "asyncpg.Connection[Any]"
    reported: list[UsageRecorded] = field(default_factory=list)

    # -- money --------------------------------------------------------------------------------------------

    async def move(self, request: Request) -> CreditsMoved:
        return await self.edge.rpc.call(request, CreditsMoved, timeout_s=_RPC_S)

    async def grant(self, user_id: str, micros: int) -> CreditsMoved:
        key = str(new_id())
        return await self.move(
            GrantCredits(user_id=user_id, amount_micros=micros, idempotency_key=key, granted_by="root")
        )

    async def adjust(self, user_id: str, micros: int) -> CreditsMoved:
        key = str(new_id())
        return await self.move(
            AdjustCredits(
                user_id=user_id, amount_micros=micros, reason="why", idempotency_key=key, adjusted_by="root"
            )
        )

    async def deduct(self, user_id: str, micros: int) -> CreditsMoved:
        key = str(new_id())
        return await self.move(
            DeductCredits(user_id=user_id, feature="export", amount_micros=micros, idempotency_key=key)
        )

    async def authorize(self, user_id: str, *, for_s: float = 300) -> UsageRecorded:
        """Take a hold; return the event of the attempt that it is for, with what it costs."""
        expires_at = datetime.now(UTC) + timedelta(seconds=for_s)
        request = authorization(user_id=user_id, expires_at=expires_at)
        answer = await self.worker.rpc.call(request, RunAuthorized, timeout_s=_RPC_S)
        event = usage_event(user_id=user_id, run_id=request.run_id)
        assert answer.quote is not None
        cost = answer.quote.cost_micros(event.tokens.counted)
        return event.model_copy(update={"cost_micros": cost, "price_version": answer.quote.price.version})

    async def report(self, *events: UsageRecorded) -> None:
        """Publish usage events as the workers do."""
        await asyncio.gather(*(self.worker.publish(event, event_id=str(event.usage_id)) for event in events))
        self.reported += events

    async def mixed_load(self, user_id: str) -> None:
        """Some of everything that moves money, or must not."""
        await self.grant(user_id, 100_000)
        late = await self.authorize(user_id, for_s=0.5)
        held = [await self.authorize(user_id) for _ in range(9)]
        await self.report(*(event.model_copy(update=how) for event, how in zip(held, _ENDINGS, strict=True)))
        await self.report(*(usage_event(user_id=user_id, cost_micros=COST, **how) for how in _WITHOUT_HOLD))
        await self.until_expired(user_id)
        await self.report(late)
        await self.quiet()
        await self.grant(user_id, 1_000)  # pays what is owed first
        await self.adjust(user_id, 700)
        await self.deduct(user_id, 300)
        await self.adjust(user_id, -10_000_000)  # more than there is: the rest is owed
        await self.adjust(user_id, 50)
        await self.quiet()

    async def until_expired(self, user_id: str) -> None:
        """Wait until one of the user's holds has."""
        await self._until(
            "SELECT count(*) FROM billing.holds WHERE state = 'expired' AND user_id = $1", 1, user_id
        )

    async def quiet(self) -> None:
        """Wait until all that was reported is recorded, and all that was posted is told."""
        ids = [event.usage_id for event in self.reported]
        recorded = "SELECT count(*) FROM billing.usage WHERE usage_id = ANY ($1::uuid[])"
        await self._until(recorded, len(set(ids)), ids)
        await self._until("SELECT count(*) FROM billing.outbox", 0)

    # -- the auditor --------------------------------------------------------------------------------------

    @property
    def postgres_url(self) -> str:
        return self.realm.admin["LATCHKEY_POSTGRES_URL"]

    @property
    def stream(self) -> EventStream:
        return EventStream(self.realm.admin["LATCHKEY_ANALYST_AMQP_URL"])

    async def check(
        self, *, wait_s: float = 5, accept: bool = False, stream: Stream | None = None
    ) -> tuple[Rebuilt, list[Difference]]:
        found: list[Difference] = []
        rebuilt = await rebuild(
            self.postgres_url,
            stream or self.stream,
            realm=self.realm.name,
            wait_s=wait_s,
            report=found.append,
            accept=accept,
        )
        assert rebuilt.differences == len(found)
        return rebuilt, found

    async def faults(self) -> set[tuple[str, str]]:
        return {(fault.what, fault.subject) for fault in (await verify(self.postgres_url)).faults}

    @asynccontextmanager
    async def tampered(self, statement: str, *arguments: object) -> AsyncIterator[None]:
        """Change for a while what nobody may change, past every trigger, as a superuser can."""
        for table in _LEDGER:
            await self.database.execute(f"CREATE TABLE public.{table} AS TABLE billing.{table}")
        try:
            async with self._superuser():
                assert not (await self.database.execute(statement, *arguments)).endswith(" 0"), statement
            yield
        finally:
            async with self._superuser():
                for table, columns in _LEDGER.items():
                    await self.database.execute(_RESTORE.format(table=table, columns=columns))

    @asynccontextmanager
    async def _superuser(self) -> AsyncIterator[None]:
        async with self.database.transaction():
            await self.database.execute("SET LOCAL session_replication_role = replica")
            yield

    async def scratch(self) -> list[str]:
        found = await self.database.fetch("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'ledger%'")
        return [row["nspname"] for row in found]

    async def _until(self, query: str, wanted: int, *arguments: object) -> None:
        async with asyncio.timeout(_QUIET_S):
            while await self.database.fetchval(query, *arguments) != wanted:
                await asyncio.sleep(0.05)


_LEDGER: Final = {
    "holds": "run_id, attempt, user_id, amount_micros, expires_at, state, quote, created_at",
    "accounts": "id, kind, user_id, posted_micros, held_micros",
    "transfers": "seq, kind, cause, cause_id, debit_account, credit_account, amount_micros, idempotency_key, "
    "user_id, run_id, attempt, reason, made_by, created_at",
    "usage": "seq, usage_id, run_id, attempt, user_id, event, cost_micros, charged_micros, "
    "receivable_micros, unrated, price_version, recorded_at",
}
_RESTORE: Final = """
DELETE FROM billing.{table};
INSERT INTO billing.{table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM public.{table};
DROP TABLE public.{table};
"""
_ENDINGS: Final[Sequence[dict[str, Any]]] = (
    {},
    {"key_source": KeySource.TEAM_GATEWAY},
    {"attempt": 1, "would_refuse_policy": KeyPolicy.USER_KEY_REQUIRED},
    {"usage_raw": {"prompt_tokens": 10, "cost": 0.000123, "text": "a\\u0000b"}},
    {"outcome": Outcome.FAILED, "tokens": _UNKNOWN, "cost_micros": None, "price_version": None},
    {"outcome": Outcome.FAILED},
    {"outcome": Outcome.CANCELLED, "tokens": _ESTIMATED},
    {"outcome": Outcome.INTERRUPTED},
    {"outcome": Outcome.CANCELLED, "tokens": _UNKNOWN, "cost_micros": None, "price_version": None},
)
_WITHOUT_HOLD: Final[Sequence[dict[str, Any]]] = (
    *({"key_source": source} for source in (KeySource.REQUEST, KeySource.SESSION, KeySource.USER)),
    {"key_source": KeySource.USER, "outcome": Outcome.CANCELLED},
    {"policy": KeyPolicy.SYSTEM},
    {},
)


@asynccontextmanager
async def running_house(realm: TestRealm) -> AsyncIterator[House]:
    """Billing in this process, and its callers."""
    values = realm.settings(BILLING)
    edge, worker = realm.bus(API_EDGE), realm.bus(INFERENCE)
    database = await asyncpg.connect(realm.admin["LATCHKEY_POSTGRES_URL"])
    async with serving(BillingSettings(**values)):
        await asyncio.gather(edge.start(), worker.start())
        try:
            yield House(realm, edge, worker, database)
        finally:
            await asyncio.gather(edge.stop(), worker.stop(), database.close())

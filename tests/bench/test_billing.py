"""How fast billing drains usage events, beside bare SQL, with few rows and with many; what a hold takes.

Every event is a platform attempt with a hold, so each closes a hold, makes a transfer and tells of a charge.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import asyncpg
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from services.billing.adapters import rows
from services.billing.adapters.genai_prices_book import GenaiPriceBook
from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.domain.hold import Hold
from services.billing.ports import Usage
from services.billing.use_cases.record_usage import rate_usage
from shared.contracts.billing import AuthorizeRun, RunAuthorized
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, INFERENCE, KeyService
from shared.kernel.prices import Quote, Tariff
from shared.kernel.secret import SecretText
from shared.runtime.postgres import Pool, create_pool
from tests.acceptance.house import eventually
from tests.bench import bare_sql
from tests.bench.cpu import cpu_ms, machine_cpu_ms
from tests.fakes.billing import MODEL, usage_event
from tests.nursery import nursery
from tests.parts import Part
from tests.realm import TestRealm, temporary_realm
from tests.stream_filler import fill, told

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

_EVENTS: Final = 30_000
_BATCH: Final = 500
_ACCOUNTS: Final = 1_000
_OLD_ROWS: Final = 2_000_000
_HOLDS: Final = 3_000
_RATE_MIN: Final = {_ACCOUNTS: 5_000, 1: 2_500}
_RATIO_MIN: Final = 0.6
_FALL_MAX: Final = 0.1
_HOLD_MICROS: Final = 100_000


@dataclass(frozen=True)
class Drained:
    """Until the last usage row, until the last event was out; CPU of billing and of the whole machine."""

    rows_s: float
    told_s: float
    billing_cpu_ms: float
    all_cpu_ms: float

    @property
    def rate(self) -> float:
        return _EVENTS / self.rows_s

    def __str__(self) -> str:
        mine, others = self.billing_cpu_ms, self.all_cpu_ms - self.billing_cpu_ms
        return (
            f"{self.rate:6,.0f} events/s (told {_EVENTS / self.told_s:6,.0f}/s); CPU µs an event:"
            f" billing {mine / _EVENTS * 1e3:.0f}, the rest of the machine {others / _EVENTS * 1e3:.0f}"
        )


class Ledger:
    """Billing's database in a realm, its pool, and the administrator's connection."""

    def __init__(self, realm: TestRealm, pool: Pool, admin: "asyncpg.Connection[Any]", folder: Path) -> None:
        self.realm, self.pool, self.admin, self._folder = realm, pool, admin, folder
        self.store = PostgresLedgerStore(pool)
        price = GenaiPriceBook().find(KeyService.OPENAI, MODEL, datetime.now(UTC))
        assert price is not None
        self.quote = Quote(price, Tariff())

    async def opened(self, accounts: int) -> list[str]:
        """Users with more than enough."""
        users = [f"user-{new_id()}" for _ in range(accounts)]
        await self.admin.execute(bare_sql.OPEN, users)
        return users

    async def held(self, users: Sequence[str]) -> list[UsageRecorded]:
        """Attempts that ended, each with a hold."""
        now = datetime.now(UTC)
        times = {"requested_at": now, "started_at": now, "finished_at": now}
        events = [usage_event(user_id=users[n % len(users)], **times) for n in range(_EVENTS)]
        for part in _parts(events):
            await self.store.authorize([self.hold(event) for event in part])
        return events

    def hold(self, event: UsageRecorded) -> Hold:
        expires_at = datetime.now(UTC) + timedelta(hours=1)
        return Hold(event.run_id, 1, event.user_id, _HOLD_MICROS, expires_at, self.quote)

    async def drained(self, events: Sequence[UsageRecorded]) -> Drained:
        """Queue the events, then let a billing process have them."""
        await fill(self.realm, INFERENCE, [told(event, event_id=str(event.usage_id)) for event in events])
        last = await self.admin.fetchval(bare_sql.LAST_USAGE) + len(events)
        await self.admin.execute("CHECKPOINT")
        async with self.billing() as process:
            start, mine, machine = time.perf_counter(), cpu_ms(process.pid), machine_cpu_ms()
            await _until(self.admin, bare_sql.LAST_USAGE, last)
            rows_s = time.perf_counter() - start
            await _until(self.admin, bare_sql.IS_TOLD, wanted=True)
            told_s = time.perf_counter() - start
            return Drained(rows_s, told_s, cpu_ms(process.pid) - mine, machine_cpu_ms() - machine)

    async def inserted(self, events: Sequence[UsageRecorded]) -> float:
        """Insert what billing would, by bare SQL; return events a second."""
        batches = [self._columns(part) for part in _parts(events)]
        await self.admin.execute("CHECKPOINT")
        async with self.pool.acquire() as connection:
            start = time.perf_counter()
            for batch in batches:
                await bare_sql.insert(connection, batch)
            return len(events) / (time.perf_counter() - start)

    def _columns(self, part: Sequence[UsageRecorded]) -> list[list[Any]]:
        book = GenaiPriceBook()
        usages = [Usage(event, event.model_dump(mode="json")) for event in part]
        return rows.entry_columns(
            [
                rate_usage(usage, self.hold(usage.event), prices=book, tariff=self.quote.tariff)
                for usage in usages
            ],
            {},
        )

    @asynccontextmanager
    async def billing(self) -> AsyncIterator[Part]:
        env = {"LATCHKEY_ENV_FILE": str(self.realm.env_dir / f"{BILLING}.env"), "LATCHKEY_LOG_LEVEL": "INFO"}
        async with nursery() as parents:
            log = self._folder / "billing.log"
            part = Part(parents, BILLING, "services.billing.app", env=env, log=log)

            async def is_ready() -> bool:
                return '"ready"' in part.log_of_this_life()

            await part.start()
            try:
                await eventually(is_ready, "billing is ready")
                yield part
            finally:
                await part.stop()


@pytest_asyncio.fixture
async def ledger(servers: Servers, tmp_path: Path) -> AsyncIterator[Ledger]:
    async with temporary_realm(servers, tmp_path) as realm:
        url = SecretText(realm.env(BILLING)["LATCHKEY_POSTGRES_URL"])
        admin = await asyncpg.connect(
            realm.admin["LATCHKEY_POSTGRES_URL"], server_settings={"search_path": "billing"}
        )
        async with await create_pool(url) as pool:
            yield Ledger(realm, pool, admin, tmp_path)
        await admin.close()


async def test_usage_of_a_thousand_accounts_with_few_rows_and_with_many(ledger: Ledger) -> None:
    users = await ledger.opened(_ACCOUNTS)
    few = await _measured(ledger, users)
    await _grow(ledger)
    many = await ledger.drained(await ledger.held(users))
    fall = 1 - many.rate / few.rate
    _write(
        f"  with {_OLD_ROWS:,} ledger rows before: {many}",
        f"  slower by {fall:.1%}: {_verdict(fall < _FALL_MAX)} {_FALL_MAX:.0%}",
    )
    assert await ledger.admin.fetch("SELECT * FROM ledger_faults") == []


async def test_usage_of_one_hot_account(ledger: Ledger) -> None:
    await _measured(ledger, await ledger.opened(1))
    assert await ledger.admin.fetch("SELECT * FROM ledger_faults") == []


async def test_what_a_hold_takes_beside_a_bare_update(ledger: Ledger) -> None:
    (user,) = await ledger.opened(1)
    events = [usage_event(user_id=user) for _ in range(_HOLDS)]
    bare: list[float] = []
    held: list[float] = []
    for event in events:
        bare.append(await _took_ms(ledger.admin.execute(bare_sql.TOUCH, user)))
        held.append(await _took_ms(ledger.store.authorize([ledger.hold(event)])))
    ratio = median(held) / median(bare)
    _write(
        f"authorize, one at a time, p50: {median(held):.2f} ms; a bare UPDATE of one row: {median(bare):.2f}",
        f"  {ratio:.1f} times: {_verdict(ratio <= 3)} 3",
        f"  over the bus: {median(await _asked(ledger, user)):.2f} ms",
    )


async def _measured(ledger: Ledger, users: Sequence[str]) -> Drained:
    drained = await ledger.drained(await ledger.held(users))
    bare = await ledger.inserted(await ledger.held(users))
    ratio, minimum = drained.rate / bare, _RATE_MIN[len(users)]
    _write(
        f"{_EVENTS:,} usage events over {len(users):,} account(s)",
        f"  billing:  {drained}: {_verdict(drained.rate >= minimum)} {minimum:,}",
        f"  bare SQL: {bare:6,.0f} events/s",
        f"  {ratio:.0%} of it: {_verdict(ratio >= _RATIO_MIN)} {_RATIO_MIN:.0%}",
    )
    return drained


async def _grow(ledger: Ledger) -> None:
    for statement in bare_sql.GROW:
        await ledger.admin.execute(statement.format(rows=_OLD_ROWS, users=_ACCOUNTS))


async def _asked(ledger: Ledger, user: str) -> list[float]:
    bus = ledger.realm.bus(INFERENCE)
    await bus.start()
    try:
        async with ledger.billing():
            return [
                await _took_ms(bus.rpc.call(_authorize(user), RunAuthorized, timeout_s=10))
                for _ in range(_HOLDS)
            ]
    finally:
        await bus.stop()


def _authorize(user: str) -> Any:
    return AuthorizeRun(
        run_id=new_id(),
        attempt=1,
        user_id=user,
        provider=KeyService.OPENAI,
        model=MODEL,
        prompt_tokens_max=100,
        completion_tokens_max=100,
        expires_at=datetime.now(UTC) + timedelta(hours=1),
    )


async def _took_ms(work: Awaitable[object]) -> float:
    start = time.perf_counter()
    await work
    return (time.perf_counter() - start) * 1000


async def _until(connection: "asyncpg.Connection[Any]", query: str, wanted: object) -> None:
    while await connection.fetchval(query) != wanted:
        await asyncio.sleep(0.02)


def _parts(events: Sequence[UsageRecorded]) -> list[Sequence[UsageRecorded]]:
    return [events[first : first + _BATCH] for first in range(0, len(events), _BATCH)]


def _verdict(is_good: bool) -> str:  # noqa: FBT001
    return "within" if is_good else "MISSES"


def _write(*lines: str) -> None:
    sys.stdout.write("\n" + "\n".join(lines) + "\n")

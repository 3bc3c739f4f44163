"""The worker's process on a real broker and Postgres."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from infra.simulator.control import read_calls
from shared.contracts.runs import RunChunk, RunCompleted, RunFailed, RunRequested
from shared.kernel.errors import InsufficientCreditsError, VaultUnavailableError
from shared.kernel.names import KeySource, Outcome, TokensSource
from tests.integration.inference.conftest import GOOD, QUOTE
from tests.integration.inference.house import Billing, Edge, KeyVault, StartingWorkers, WorkerProcess
from tests.realm import TestRealm
from tests.traces import database_dump, traces

pytestmark = pytest.mark.integration

ARun = Callable[..., RunRequested]
PLATFORM, USER = KeySource.PLATFORM, KeySource.USER


@pytest_asyncio.fixture(scope="module", autouse=True)
async def worker(starting_workers: StartingWorkers, simulator_process: str) -> AsyncIterator[WorkerProcess]:
    async with starting_workers(simulator_process) as start:
        yield await start(provider_idle_timeout_s="1")


class TestTheLifeOfARun:
    async def test_plain(self, edge: Edge, billing: Billing, a_run: ARun) -> None:
        run_id = await edge.ask(a_run("hello there"))

        end = await edge.ended(run_id)
        assert isinstance(end, RunCompleted)
        assert "Echo: hello there" in (end.response or "")
        [usage] = await billing.recorded(run_id)
        assert (usage.outcome, usage.key_source) == (Outcome.COMPLETED, USER)
        assert usage.tokens.source is TokensSource.MEASURED
        assert billing.asked == []

    async def test_streamed(self, edge: Edge, billing: Billing, a_run: ARun) -> None:
        run_id = await edge.ask(a_run("[simulate chunks=20 chunk_ms=2] hello", stream=True))

        await edge.ended(run_id)
        told = edge.told[run_id]
        assert [progress.seq for progress in told] == list(range(len(told)))
        relayed = [chunk for progress in told if isinstance(progress, RunChunk) for chunk in progress.chunks]
        assert len(relayed) == 23
        assert (await billing.recorded(run_id))[0].stream is True

    async def test_with_the_platforms_key(
        self, edge: Edge, key_vault: KeyVault, billing: Billing, a_run: ARun
    ) -> None:
        key_vault.keys = [(PLATFORM, GOOD)]

        run_id = await edge.ask(a_run())

        await edge.ended(run_id)
        [ask] = billing.asked
        assert (ask.run_id, ask.completion_tokens_max) == (run_id, 4096)

    async def test_without_credits(
        self, edge: Edge, key_vault: KeyVault, billing: Billing, a_run: ARun, simulator: str
    ) -> None:
        key_vault.keys, billing.refusal = [(PLATFORM, GOOD)], InsufficientCreditsError("no credits")

        end = await edge.ended(await edge.ask(a_run()))

        assert isinstance(end, RunFailed)
        assert end.error.code == "insufficient_credits"
        assert read_calls(simulator).chat == 0

    async def test_with_the_vault_away(
        self, edge: Edge, key_vault: KeyVault, billing: Billing, a_run: ARun
    ) -> None:
        key_vault.refusal = VaultUnavailableError(retry_after_s=2)

        end = await edge.ended(run_id := await edge.ask(a_run()))

        assert isinstance(end, RunFailed)
        assert (end.error.code, end.error.retry_after_s) == ("vault_unavailable", 2)
        assert (await billing.recorded(run_id))[0].outcome is Outcome.FAILED

    async def test_failing_over(self, edge: Edge, key_vault: KeyVault, billing: Billing, a_run: ARun) -> None:
        key_vault.keys = [(USER, "canary-bad-1"), (PLATFORM, "canary-broke-1"), (PLATFORM, GOOD)]

        end = await edge.ended(run_id := await edge.ask(a_run()))

        assert isinstance(end, RunCompleted)
        assert end.key_source is PLATFORM
        assert edge.kinds(run_id) == ["RunStarted"] * 2 + ["RunCompleted"]
        assert [(usage.attempt, usage.outcome) for usage in await billing.recorded(run_id, attempts=3)] == [
            (1, "failed"),
            (2, "failed"),
            (3, "completed"),
        ]
        assert [ask.attempt for ask in billing.asked] == [2, 3]

    @pytest.mark.parametrize(
        "told",
        [
            ("[simulate cut_after=3 chunks=9]", "provider_error", TokensSource.ESTIMATED),
            ("[simulate stall_after=3 chunks=9]", "provider_timeout", TokensSource.ESTIMATED),
            ("[simulate redirect]", "provider_error", TokensSource.UNKNOWN),
            ("[simulate garbage]", "provider_error", TokensSource.UNKNOWN),
            ("[simulate status=500]", "provider_error", TokensSource.UNKNOWN),
        ],
    )
    async def test_a_provider_that_misbehaves(
        self, edge: Edge, billing: Billing, a_run: ARun, told: tuple[str, str, TokensSource]
    ) -> None:
        prompt, code, tokens = told
        end = await edge.ended(run_id := await edge.ask(a_run(prompt, stream=True)))

        assert isinstance(end, RunFailed)
        assert end.error.code == code
        [usage] = await billing.recorded(run_id)
        assert (usage.outcome, usage.error_code, usage.tokens.source) == (Outcome.FAILED, code, tokens)

    async def test_no_usage(self, edge: Edge, billing: Billing, a_run: ARun) -> None:
        run_id = await edge.ask(a_run("[simulate no_usage] hello", stream=True))

        assert (await billing.recorded(run_id))[0].tokens.source is TokensSource.ESTIMATED

    async def test_a_cancel_hangs_up_at_once(
        self, edge: Edge, billing: Billing, a_run: ARun, simulator: str
    ) -> None:
        run_id = await edge.ask(a_run("[simulate chunks=100 chunk_ms=100]", stream=True))
        async with asyncio.timeout(10):
            while "RunChunk" not in edge.kinds(run_id):
                await asyncio.sleep(0.01)

        await edge.cancel(run_id)

        [usage] = await billing.recorded(run_id, within_s=2)
        assert (usage.outcome, usage.tokens.source) == (Outcome.CANCELLED, TokensSource.ESTIMATED)
        async with asyncio.timeout(2):
            while read_calls(simulator).in_flight:
                await asyncio.sleep(0.02)

    async def test_too_late(self, edge: Edge, billing: Billing, a_run: ARun, simulator: str) -> None:
        late = a_run(start_by=datetime.now(UTC) - timedelta(seconds=1))

        end = await edge.ended(await edge.ask(late))

        assert isinstance(end, RunFailed)
        assert end.error.code == "service_unavailable"
        assert (await billing.recorded(late.run_id))[0].outcome is Outcome.EXPIRED
        assert read_calls(simulator).chat == 0

    async def test_the_same_message_twice_is_one_call(
        self, edge: Edge, billing: Billing, a_run: ARun, simulator: str
    ) -> None:
        request = a_run("[simulate latency_ms=100] twice")
        await asyncio.gather(*(edge.ask(request) for _ in range(5)))

        await edge.ended(request.run_id)
        assert isinstance(await edge.ended(request.run_id), RunCompleted)
        async with asyncio.timeout(5):
            while len(billing.usage) < 5:
                await asyncio.sleep(0.02)
        assert len(billing.of(request.run_id)) == 1
        assert read_calls(simulator).chat == 1


class TestTheUsageEvent:
    async def test_all_of_it(self, edge: Edge, key_vault: KeyVault, billing: Billing, a_run: ARun) -> None:
        key_vault.keys = [(PLATFORM, GOOD)]
        run = a_run("[simulate tokens=700,50 cache=400,200 latency_ms=50]", requested_at=datetime.now(UTC))

        await edge.ended(await edge.ask(run))

        [usage] = await billing.recorded(run.run_id)
        tokens = usage.tokens
        assert (tokens.prompt, tokens.completion, tokens.cached, tokens.cache_write) == (700, 50, 400, 200)
        assert usage.provider_request_id is not None
        assert usage.provider_request_id.startswith("req_")
        assert (usage.price_version, usage.cost_micros) == ("v1", QUOTE.cost_micros(tokens.counted))
        times = (usage.queue_ms, usage.resolve_ms, usage.first_token_ms, usage.total_ms)
        queue_ms, resolve_ms, first_token_ms, total_ms = (time or 0 for time in times)
        assert None not in times
        assert 50 <= first_token_ms <= total_ms
        assert queue_ms + resolve_ms + first_token_ms <= total_ms + 2  # each is rounded

    async def test_the_price_of_a_run_on_ones_own_key_is_asked_beside_it(
        self, edge: Edge, billing: Billing, a_run: ARun
    ) -> None:
        runs = [a_run("[simulate latency_ms=200]", model="openai/gpt-4.1-mini") for _ in range(5)]
        for run in runs:
            await edge.ended(await edge.ask(run))

        for run in runs:
            [usage] = await billing.recorded(run.run_id)
            assert usage.cost_micros == QUOTE.cost_micros(usage.tokens.counted)
        assert [ask.model for ask in billing.priced].count("openai/gpt-4.1-mini") == 1
        assert billing.asked == []


class TestSecrets:
    @pytest.fixture
    def canary(self, key_vault: KeyVault) -> str:
        """A key that the provider refuses by quoting it."""
        canary = "canary-bad-5e6f7a8b9c0d"
        key_vault.keys = [(USER, canary)]
        return canary

    @pytest.fixture
    async def said(self, canary: str, edge: Edge, billing: Billing, a_run: ARun) -> list[str]:
        """Everything that was told and published of some runs; one is a 400 that quotes its prompt."""
        runs = [a_run(), a_run(stream=True), a_run(f"[simulate {canary}=1]")]
        for request in runs:
            await edge.ended(await edge.ask(request))
            await billing.recorded(request.run_id)
        told = [progress for run in runs for progress in edge.told[run.run_id]]
        return [message.model_dump_json() for message in (*told, *billing.usage)]

    async def test_a_key_that_the_provider_quotes_is_found_nowhere(
        self, canary: str, said: list[str], worker: WorkerProcess, realm: TestRealm
    ) -> None:
        dump = await database_dump(realm.admin["LATCHKEY_POSTGRES_URL"])
        everything: list[bytes | str] = [*said, *worker.lines, *dump]

        assert traces("user_api_key_invalid", everything)
        assert traces(canary, everything) == []

"""Runs that come again: after a crash, a lost connection, a shutdown."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.inference.domain.attempt import KeyUsed
from shared.contracts.runs import RunCompleted, RunFailed, RunRequested
from shared.kernel.errors import (
    ProviderError,
    ServiceUnavailableError,
    UserApiKeyInvalidError,
    WorkerLostError,
)
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome, TokensSource
from tests.fakes.inference import PLATFORM, QUICK, Worker, a_key, a_request, an_answer, chunks
from tests.fakes.inference_store import InMemoryAttemptStore
from tests.waiting import until

pytestmark = pytest.mark.unit


async def lost_in_the_middle(store: InMemoryAttemptStore, request: RunRequested) -> Worker:
    """A worker that dies while its provider is called."""
    worker = Worker([a_key()], store=store, name="lost")
    worker.provider.scripts["mine"] = [30.0]
    await worker.service.heart.beat()
    running = asyncio.create_task(worker.run(request))
    await until(lambda: bool(worker.provider.calls))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return worker


async def beating(worker: Worker) -> None:
    while True:
        await worker.service.heart.beat()
        await asyncio.sleep(0.01)


async def run_beside_its_heart(worker: Worker, request: RunRequested) -> None:
    heart = asyncio.create_task(beating(worker))
    try:
        async with asyncio.timeout(5):
            await worker.run(request, redelivered=True)
    finally:
        heart.cancel()


async def test_a_lost_workers_kept_run_has_an_end_for_whoever_comes_back() -> None:
    store, request = InMemoryAttemptStore(), a_request(kept=True)
    await lost_in_the_middle(store, request)
    await run_beside_its_heart(Worker(store=store, name="worker-2"), request)
    end = store.ends[request.run_id]
    assert (end.outcome, end.error and end.error.code) == (Outcome.INTERRUPTED, "worker_lost")


async def test_a_lost_workers_run_ends_as_interrupted_and_is_never_called_again() -> None:
    store, request = InMemoryAttemptStore(), a_request()
    await lost_in_the_middle(store, request)
    other = Worker([a_key()], store=store, name="other")

    await run_beside_its_heart(other, request)

    assert other.provider.calls == []
    [usage] = other.usage_log.events
    assert (usage.outcome, usage.error_code) == (Outcome.INTERRUPTED, "worker_lost")
    assert (usage.key_source, usage.credential_id) == (KeySource.USER, "mine")
    assert usage.tokens.source is TokensSource.UNKNOWN
    [failed] = other.audience.told
    assert isinstance(failed, RunFailed)
    assert failed.error.code == "worker_lost"


async def test_a_run_of_a_living_worker_is_waited_for() -> None:
    store, request = InMemoryAttemptStore(), a_request()
    first, second = (Worker([a_key()], store=store, name=name) for name in ("first", "second"))
    first.provider.scripts["mine"] = [0.3, an_answer()]
    heart = asyncio.create_task(beating(first))
    running = asyncio.create_task(first.run(request))
    await until(lambda: bool(first.provider.calls))

    await run_beside_its_heart(second, request)
    await running
    heart.cancel()

    assert second.provider.calls == []
    assert first.audience.kinds()[-1] == "RunCompleted"
    assert second.usage_log.events == first.usage_log.events


async def test_a_worker_whose_own_heart_was_still_judges_nobody() -> None:
    """After an outage of the database everybody looks stale."""
    store, request = InMemoryAttemptStore(), a_request()
    await lost_in_the_middle(store, request)
    await asyncio.sleep(0.15)
    other = Worker([a_key()], store=store, name="other")

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(other.run(request), 0.2)

    assert other.usage_log.events == []


async def test_the_same_run_twice_on_one_worker_is_done_once() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.provider.scripts["mine"] = [0.05, an_answer()]

    await asyncio.gather(worker.run(request), worker.run(request))

    assert len(worker.provider.calls) == 1
    assert worker.audience.kinds()[:1] == ["RunCompleted"]
    assert len({usage.usage_id for usage in worker.usage_log.events}) == 1


async def test_what_this_worker_itself_left_unfinished_is_lost() -> None:
    store, request = InMemoryAttemptStore(), a_request()
    worker = await lost_in_the_middle(store, request)

    await run_beside_its_heart(worker, request)

    assert len(worker.provider.calls) == 1
    assert [usage.outcome for usage in worker.usage_log.events] == [Outcome.INTERRUPTED]


async def test_a_failed_run_that_comes_again_is_told_again() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.provider.scripts["mine"] = [ProviderError("openai failed")]
    await worker.run(request)

    await worker.run(request)

    again = worker.audience.told[-1]
    assert isinstance(again, RunFailed)
    assert again.error.message == "openai failed"
    assert worker.usage_log.events[0] == worker.usage_log.events[1]


async def test_whoever_waits_for_an_answer_that_was_lost_is_told() -> None:
    store, request = InMemoryAttemptStore(), a_request()
    first = Worker([a_key()], store=store)
    first.provider.scripts["mine"] = [an_answer()]
    await first.run(request)
    other = Worker(store=store, name="other")

    await other.run(request)

    [told] = other.audience.told
    assert isinstance(told, RunFailed)
    assert told.error.code == "worker_lost"
    assert other.usage_log.events == first.usage_log.events


async def test_every_attempt_of_a_run_is_published_again() -> None:
    worker, request = Worker([a_key(), a_key("platform:openai", PLATFORM)]), a_request()
    worker.provider.scripts = {"mine": [UserApiKeyInvalidError()], "platform:openai": [an_answer()]}
    await worker.run(request)

    await worker.run(request)

    assert [usage.attempt for usage in worker.usage_log.events] == [1, 2, 1, 2]


async def test_who_wants_another_try_gets_one() -> None:
    store, request = InMemoryAttemptStore(), a_request(retry_on_worker_loss=True)
    await lost_in_the_middle(store, request)
    other = Worker([a_key()], store=store, name="other")
    other.provider.scripts["mine"] = [an_answer()]

    await run_beside_its_heart(other, request)

    assert [(usage.attempt, usage.outcome) for usage in other.usage_log.events] == [
        (1, "interrupted"),
        (2, "completed"),
    ]
    assert other.audience.kinds() == ["RunStarted", "RunCompleted"]


async def test_another_try_is_not_endless() -> None:
    store, request = InMemoryAttemptStore(), a_request(retry_on_worker_loss=True)
    for _ in range(3):
        await lost_in_the_middle(store, request)
    other = Worker([a_key()], store=store, name="other")

    await run_beside_its_heart(other, request)

    assert other.provider.calls == []
    assert len(other.usage_log.events) == 3


async def lost_after_a_failure(store: InMemoryAttemptStore, request: RunRequested) -> Worker:
    """A worker whose first key fails, and which dies while the second is called."""
    worker = Worker([a_key(), a_key("platform:0", PLATFORM)], store=store, name="lost")
    worker.provider.scripts = {"mine": [UserApiKeyInvalidError()], "platform:0": [30.0]}
    running = asyncio.create_task(worker.run(request))
    await until(lambda: len(worker.provider.calls) == 2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return worker


async def test_a_run_taken_up_again_tells_of_the_keys_used_before() -> None:
    store, request = InMemoryAttemptStore(), a_request(retry_on_worker_loss=True)
    await lost_after_a_failure(store, request)
    other = Worker([a_key(), a_key("platform:0", PLATFORM)], store=store, name="other")
    other.provider.scripts["platform:0"] = [an_answer()]

    await run_beside_its_heart(other, request)

    end = other.audience.told[-1]
    assert isinstance(end, RunCompleted)
    assert [(use.attempt, use.credential_id, use.outcome, use.error_code) for use in end.key_uses] == [
        (1, "mine", "failed", "user_api_key_invalid"),
        (2, "platform:0", "interrupted", "worker_lost"),
        (3, "platform:0", "completed", None),
    ]


async def test_a_run_taken_up_again_leaves_out_the_key_that_failed_not_the_one_that_was_lost() -> None:
    store, request = InMemoryAttemptStore(), a_request(retry_on_worker_loss=True)
    await lost_after_a_failure(store, request)
    other = Worker([a_key(), a_key("platform:0", PLATFORM)], store=store, name="other")
    other.provider.scripts["platform:0"] = [an_answer()]

    await run_beside_its_heart(other, request)

    assert other.resolver.asked == [(3, ("mine",))]


async def test_a_lost_attempt_tells_the_same_of_its_key() -> None:
    used = KeyUsed(
        PLATFORM,
        "platform:0",
        KeyService.OPENROUTER,
        consent_id="yes-1",
        credential_version=2,
        would_refuse_policy=KeyPolicy.USER_KEY_REQUIRED,
    )
    store, request = InMemoryAttemptStore(), a_request()
    worker = Worker([replace(a_key(), used=used)], store=store, name="lost")
    worker.provider.scripts["platform:0"] = [30.0]
    running = asyncio.create_task(worker.run(request))
    await until(lambda: bool(worker.provider.calls))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    other = Worker(store=store, name="other")

    await run_beside_its_heart(other, request)

    [usage] = other.usage_log.events
    assert (usage.outcome, usage.service, usage.consent_id) == ("interrupted", "openrouter", "yes-1")
    assert (usage.credential_version, usage.would_refuse_policy) == (2, "user_key_required")


async def test_a_worker_thought_dead_calls_nobody() -> None:
    store, request = InMemoryAttemptStore(), a_request()
    frozen = Worker([a_key()], store=store, name="frozen")
    frozen.resolver.delay_s = 0.2
    running = asyncio.create_task(frozen.run(request, redelivered=True))
    await until(lambda: bool(frozen.resolver.asked))
    other = Worker(store=store, name="other")

    await run_beside_its_heart(other, request)
    await running

    assert frozen.provider.calls == []
    [row] = store.rows.values()
    assert row.usage is not None
    assert row.usage.outcome is Outcome.INTERRUPTED
    assert other.usage_log.events == frozen.usage_log.events == [row.usage]


async def test_a_defect_leaves_no_run_unfinished_while_its_worker_lives() -> None:
    """Another worker would wait for it, and the client with it."""
    store, request = InMemoryAttemptStore(), a_request()
    first, second = (Worker([a_key()], store=store, name=name) for name in ("first", "second"))
    first.provider.scripts["mine"] = [an_answer()]
    heart = asyncio.create_task(beating(first))
    store.refusal = ValueError("a character that no text may have")
    with pytest.raises(ValueError, match="a character"):
        await first.run(request)

    await run_beside_its_heart(second, request)
    heart.cancel()

    assert second.provider.calls == []
    [usage] = second.usage_log.events
    assert (usage.outcome, usage.error_code) == (Outcome.FAILED, "internal_error")
    [failed] = second.audience.told
    assert isinstance(failed, RunFailed)
    assert failed.error.code == "internal_error"


async def test_long_after_the_deadline_nobody_is_waited_for() -> None:
    store = InMemoryAttemptStore()
    request = a_request(deadline=datetime.now(UTC) + timedelta(seconds=1))
    limits = replace(QUICK, orphaned_after=timedelta(seconds=0.2))
    owner = await lost_in_the_middle(store, request)
    heart = asyncio.create_task(beating(owner))
    other = Worker(store=store, name="other", limits=limits)

    await run_beside_its_heart(other, request)
    heart.cancel()

    [usage] = other.usage_log.events
    assert usage.outcome is Outcome.INTERRUPTED


# -- shutdown ---------------------------------------------------------------------------------------------


async def shut_down_in_the_middle(worker: Worker, request: RunRequested) -> None:
    running = asyncio.create_task(worker.run(request))
    await until(lambda: bool(worker.audience.told))
    worker.in_flight.close()
    worker.in_flight.interrupt()
    async with asyncio.timeout(2):
        await running


async def test_a_shutdown_writes_down_what_it_interrupts() -> None:
    worker, request = Worker([a_key()]), a_request(stream=True)
    worker.provider.scripts["mine"] = [*chunks("abcd", usage=None), 30.0]

    await shut_down_in_the_middle(worker, request)

    [usage] = worker.usage_log.events
    assert (usage.outcome, usage.tokens.source) == (Outcome.INTERRUPTED, TokensSource.ESTIMATED)
    last = worker.audience.told[-1]
    assert isinstance(last, RunFailed)
    assert last.error.code == "worker_lost"


async def test_a_shutdown_gives_the_run_to_another_worker_if_that_is_wanted() -> None:
    store, request = InMemoryAttemptStore(), a_request(stream=True, retry_on_worker_loss=True)
    worker = Worker([a_key()], store=store)
    worker.provider.scripts["mine"] = [*chunks("abcd", usage=None), 30.0]
    with pytest.raises(WorkerLostError):
        await shut_down_in_the_middle(worker, request)
    other = Worker([a_key()], store=store, name="other")
    other.provider.scripts["mine"] = chunks("abcd")

    await other.run(request)

    assert "RunFailed" not in worker.audience.kinds()
    assert [usage.outcome for usage in other.usage_log.events] == [Outcome.INTERRUPTED, Outcome.COMPLETED]


async def test_a_closing_worker_takes_no_run() -> None:
    worker = Worker([a_key()])
    worker.in_flight.close()

    with pytest.raises(ServiceUnavailableError):
        await worker.run(a_request())

    assert worker.store.rows == {}


async def test_a_closing_worker_waits_for_no_other() -> None:
    store, request = InMemoryAttemptStore(), a_request()
    await lost_in_the_middle(store, request)
    other = Worker(store=store, name="other")
    waiting = asyncio.create_task(other.run(request))
    await asyncio.sleep(0.05)

    other.in_flight.close()

    with pytest.raises(ServiceUnavailableError):
        await asyncio.wait_for(waiting, 2)

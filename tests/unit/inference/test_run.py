"""A run in one worker, from the claim to its end."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.inference.ports import ResolvedKey
from shared.contracts.runs import RunChunk, RunCompleted, RunStarted
from shared.contracts.usage import TokenCounts
from shared.kernel.errors import (
    BusUnavailableError,
    DatabaseUnavailableError,
    InsufficientCreditsError,
    PlatformError,
    ProviderError,
    ServiceUnavailableError,
    SystemKeyExhaustedError,
    UserApiKeyRequiredError,
    VaultUnavailableError,
    WorkerLostError,
)
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome, TokensSource
from tests.fakes.inference import CANARY, PLATFORM, QUICK, Worker, a_key, a_request, an_answer, chunks
from tests.unit.inference.watching import MEASURED, failure, only_usage
from tests.waiting import until

pytestmark = pytest.mark.unit


async def rows_are_ended(worker: Worker) -> bool:
    return all(row.usage is not None for row in worker.store.rows.values())


# -- the good way -----------------------------------------------------------------------------------------


async def test_a_plain_run_with_a_users_key() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.provider.scripts["mine"] = [an_answer()]

    await worker.run(request)

    [completed] = worker.audience.told
    assert isinstance(completed, RunCompleted)
    assert (completed.seq, completed.key_source) == (0, KeySource.USER)
    assert completed.response == an_answer().text
    usage = only_usage(worker)
    assert usage.outcome is Outcome.COMPLETED
    assert usage.tokens == MEASURED
    assert (usage.key_source, usage.credential_id, usage.service) == ("user", "mine", "openai")
    assert worker.authorizer.asked == []
    assert await rows_are_ended(worker)


async def test_a_streamed_run_relays_in_order_and_counts_every_message() -> None:
    worker, request = Worker([a_key()]), a_request(stream=True)
    worker.provider.scripts["mine"] = chunks(*"abcdef")

    await worker.run(request)

    told = worker.audience.told
    assert [progress.seq for progress in told] == list(range(len(told)))
    relayed = [chunk for progress in told if isinstance(progress, RunChunk) for chunk in progress.chunks]
    assert relayed == [*"abcdef", "usage"]
    assert told[0] == RunChunk(run_id=request.run_id, seq=0, chunks=("a",), key_source=KeySource.USER)
    assert isinstance(told[-1], RunCompleted)
    assert told[-1].response is None
    assert only_usage(worker).tokens == MEASURED


@pytest.mark.parametrize("stream", [False, True])
async def test_a_run_that_is_silent_for_long_says_that_it_has_begun(stream: bool) -> None:  # noqa: FBT001
    worker = Worker([a_key()], limits=replace(QUICK, silence_s=0.01))
    worker.provider.scripts["mine"] = [0.1, *(chunks("a") if stream else [an_answer()])]
    request = a_request(stream=stream)

    await worker.run(request)

    started, *others = worker.audience.told
    assert started == RunStarted(run_id=request.run_id, seq=0, attempt=1, key_source=KeySource.USER)
    assert [progress.seq for progress in others] == list(range(1, len(others) + 1))
    assert "RunStarted" not in {type(progress).__name__ for progress in others}


@pytest.mark.parametrize("kept", [False, True])
async def test_a_run_that_is_stopped_while_its_word_is_on_its_way_ends_as_any_other(kept: bool) -> None:  # noqa: FBT001
    worker = Worker([a_key()], limits=replace(QUICK, silence_s=0.01))
    worker.audience.start_takes_s = 0.3
    worker.provider.scripts["mine"] = [0.02, *chunks("abcd", usage=None), 30.0]
    request = a_request(stream=True, kept=kept)
    running = asyncio.create_task(worker.run(request))
    await asyncio.sleep(0.1)

    worker.in_flight.cancel(request.run_id)
    await asyncio.wait_for(running, 2)

    assert only_usage(worker).outcome is Outcome.CANCELLED
    assert worker.audience.kinds() == ["RunStarted", "RunFailed"]


async def test_a_run_that_was_given_back_is_told_of_no_more() -> None:
    worker = Worker([a_key()], limits=replace(QUICK, silence_s=0.1))
    worker.provider.scripts["mine"] = [30.0]
    running = asyncio.create_task(worker.run(a_request(retry_on_worker_loss=True)))
    await until(lambda: bool(worker.provider.calls))

    worker.in_flight.interrupt()
    with pytest.raises(WorkerLostError):
        await running
    await asyncio.sleep(0.2)

    assert worker.audience.told == []


async def test_without_the_providers_count_tokens_are_estimated() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [an_answer(usage=None)]

    await worker.run(a_request())

    tokens = only_usage(worker).tokens
    assert tokens.source is TokensSource.ESTIMATED
    assert tokens.prompt > 0
    assert tokens.completion == 5


@pytest.mark.parametrize("key", [a_key(), a_key("platform:openai", PLATFORM)])
async def test_an_ending_whose_answer_was_lost_is_told_to_billing(key: ResolvedKey) -> None:
    """A statement that timed out may have been carried out all the same."""
    worker = Worker([key])
    worker.provider.scripts[key.used.credential_id] = [an_answer()]
    worker.store.lost_answer = DatabaseUnavailableError()

    await worker.run(a_request())

    assert only_usage(worker).outcome is Outcome.COMPLETED
    assert worker.audience.kinds() == ["RunCompleted"]


# -- the platform's key -----------------------------------------------------------------------------------


async def test_a_platform_key_is_authorized_for_the_worst_case() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    body = {"messages": [{"role": "user", "content": [image]}]}
    worker, request = Worker([a_key("platform:openai", PLATFORM)]), a_request(body=body)
    worker.provider.scripts["platform:openai"] = [an_answer()]

    await worker.run(request)

    [ask] = worker.authorizer.asked
    assert (ask.run_id, ask.attempt, ask.user_id) == (request.run_id, 1, "ann")
    assert ask.completion_tokens_max == 4096
    assert ask.prompt_tokens_max > 48_169, "what gpt-4o-mini counts an image"
    assert ask.expires_at > request.deadline
    assert worker.provider.calls[0].completion_ceiling == 4096


@pytest.mark.parametrize("source", [KeySource.USER, KeySource.USER_GATEWAY, KeySource.TEAM_GATEWAY, PLATFORM])
@pytest.mark.parametrize("extra", [{"service_tier": "priority"}, {"fallbacks": ["gpt-5-pro"]}])
async def test_another_price_is_only_for_a_key_of_ones_own(
    source: KeySource, extra: dict[str, object]
) -> None:
    worker = Worker([a_key(source=source)])
    worker.provider.scripts["mine"] = [an_answer()]

    await worker.run(a_request(body={"messages": [{"role": "user"}], **extra}))

    assert len(worker.provider.calls) == source.is_byok
    assert worker.authorizer.asked == []


async def test_the_systems_own_runs_are_not_charged() -> None:
    worker = Worker([a_key("platform:openai", PLATFORM)])
    worker.provider.scripts["platform:openai"] = [an_answer()]

    await worker.run(a_request(policy=KeyPolicy.SYSTEM))

    assert worker.authorizer.asked == []
    assert worker.provider.calls[0].completion_ceiling is None


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (InsufficientCreditsError(), Outcome.REFUSED),
        (ServiceUnavailableError(service="billing"), Outcome.FAILED),
    ],
)
async def test_without_a_hold_nothing_is_called(refusal: PlatformError, outcome: Outcome) -> None:
    worker = Worker([a_key("platform:openai", PLATFORM)])
    worker.authorizer.refusal = refusal

    await worker.run(a_request())

    assert worker.provider.calls == []
    assert only_usage(worker).outcome is outcome
    assert only_usage(worker).key_source is PLATFORM
    assert failure(worker).error.code == refusal.code


async def test_a_limit_that_is_no_number_is_refused_before_a_hold() -> None:
    worker = Worker([a_key("platform:openai", PLATFORM)])

    await worker.run(a_request(body={"messages": [], "max_tokens": "many"}))

    assert worker.authorizer.asked == []
    assert failure(worker).error.code == "invalid_request"


# -- refusals and failures --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("refusal", "outcome"),
    [
        (UserApiKeyRequiredError(), Outcome.REFUSED),
        (SystemKeyExhaustedError(), Outcome.REFUSED),
        (VaultUnavailableError(retry_after_s=2), Outcome.FAILED),
        (ServiceUnavailableError(service="key_vault"), Outcome.FAILED),
        (BusUnavailableError(), Outcome.FAILED),
    ],
)
async def test_without_a_key_nothing_is_called(refusal: PlatformError, outcome: Outcome) -> None:
    worker = Worker()
    worker.resolver.refusal = refusal

    await worker.run(a_request())

    usage = only_usage(worker)
    assert (usage.outcome, usage.key_source, usage.error_code) == (outcome, None, refusal.code)
    assert usage.tokens.source is TokensSource.UNKNOWN
    assert failure(worker).error.code == refusal.code
    assert worker.authorizer.asked == []


async def test_a_failure_before_any_token_counts_none() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [ProviderError()]

    await worker.run(a_request(stream=True))

    usage = only_usage(worker)
    assert (usage.outcome, usage.tokens) == (Outcome.FAILED, TokenCounts())
    assert failure(worker).error.code == "provider_error"
    assert len(worker.resolver.asked) == 1


async def test_a_failure_after_some_tokens_estimates_them() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [*chunks("abcd", "efgh", usage=None), ProviderError()]

    await worker.run(a_request(stream=True))

    tokens = only_usage(worker).tokens
    assert (tokens.source, tokens.completion) == (TokensSource.ESTIMATED, 2)
    relayed = [c for p in worker.audience.told if isinstance(p, RunChunk) for c in p.chunks]
    assert relayed == ["abcd", "efgh"]


@pytest.mark.parametrize("field", ["start_by", "deadline"])
async def test_a_run_that_comes_too_late_is_not_called(field: str) -> None:
    worker = Worker([a_key()])

    await worker.run(a_request(**{field: datetime.now(UTC) - timedelta(seconds=1)}))

    assert worker.resolver.asked == []
    assert only_usage(worker).outcome is Outcome.EXPIRED
    assert failure(worker).error.code == "service_unavailable"
    assert failure(worker).error.retry_after_s is not None


async def test_a_provider_that_outlasts_the_deadline_is_cut() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [*chunks("abcd", usage=None), 5.0]

    await worker.run(a_request(stream=True, deadline=datetime.now(UTC) + timedelta(seconds=0.1)))

    assert failure(worker).error.code == "provider_timeout"
    assert only_usage(worker).tokens.source is TokensSource.ESTIMATED


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("is_asked", "source"), [(True, TokensSource.ESTIMATED), (False, TokensSource.UNKNOWN)]
)
async def test_a_deadline_that_the_client_asked_for_is_paid_like_a_cancel(
    *, is_asked: bool, source: TokensSource, stream: bool
) -> None:
    """The provider was called, and goes on: who may choose the time would else call it for nothing."""
    worker = Worker([a_key(source=PLATFORM)])
    worker.provider.scripts["mine"] = [5.0]
    soon = datetime.now(UTC) + timedelta(seconds=0.1)

    await worker.run(a_request(stream=stream, deadline=soon, deadline_asked=is_asked))

    usage = only_usage(worker)
    assert (usage.outcome, usage.error_code) == (Outcome.FAILED, "provider_timeout")
    assert usage.tokens.source is source
    assert (usage.tokens.prompt > 0) == is_asked


async def test_a_deadline_before_the_provider_took_the_connection_is_not_paid() -> None:
    worker = Worker([a_key(source=PLATFORM)])
    worker.provider.connects = False
    worker.provider.scripts["mine"] = [5.0]
    soon = datetime.now(UTC) + timedelta(seconds=0.1)

    await worker.run(a_request(deadline=soon, deadline_asked=True))

    assert (failure(worker).error.code, only_usage(worker).tokens) == ("provider_timeout", TokenCounts())


async def test_a_key_that_takes_past_the_deadline_expires_the_run() -> None:
    worker = Worker([a_key()])
    worker.resolver.delay_s = 5

    await worker.run(a_request(deadline=datetime.now(UTC) + timedelta(seconds=0.1)))

    assert only_usage(worker).outcome is Outcome.EXPIRED
    assert failure(worker).error.code == "service_unavailable"


# -- keys -------------------------------------------------------------------------------------------------


def test_a_resolved_key_shows_nothing() -> None:
    key: ResolvedKey = a_key(service=KeyService.OPENAI)

    assert CANARY not in repr(key)


async def test_so_many_runs_are_begun_at_once_and_any_number_goes_on() -> None:
    worker = Worker([a_key("k", PLATFORM)], limits=replace(QUICK, starting_max=2))
    worker.resolver.delay_s = 0.005
    worker.provider.scripts["k"] = [0.1, an_answer()]
    running = [asyncio.create_task(worker.run(a_request())) for _ in range(10)]
    await until(lambda: len(worker.provider.calls) == 10)
    assert worker.usage_log.events == []
    await asyncio.gather(*running)
    assert worker.resolver.most_at_once == 2

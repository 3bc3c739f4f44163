"""A run whose key fails: which key is tried next, what each attempt leaves behind, how the run ends."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from services.inference.domain.attempt import Attempt, KeyUsed
from services.inference.domain.failures import NotAllowedError
from services.inference.ports import ResolvedKey
from shared.contracts.runs import KeyUse, RunCompleted, RunRequested
from shared.kernel.errors import (
    ConsentRequiredError,
    DatabaseUnavailableError,
    InsufficientCreditsError,
    InvalidRequestError,
    PlatformError,
    ProviderError,
    ProviderRateLimitedError,
    ProviderTimeoutError,
    SystemKeyExhaustedError,
    UserApiKeyExhaustedError,
    UserApiKeyInvalidError,
    VaultUnavailableError,
)
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome
from tests.fakes.inference import PLATFORM, QUICK, Step, Worker, a_key, a_request, an_answer, chunks
from tests.fakes.inference_store import InMemoryAttemptStore
from tests.unit.inference.watching import failure

pytestmark = pytest.mark.unit

LIMITED = ProviderRateLimitedError(retry_after_s=3)
INVALID = UserApiKeyInvalidError("openai does not accept your key")


def key_uses(worker: Worker) -> tuple[KeyUse, ...]:
    last = worker.audience.told[-1]
    assert isinstance(last, RunCompleted)
    return last.key_uses


def a_pool(size: int, source: KeySource = PLATFORM) -> list[ResolvedKey]:
    return [a_key(f"{source}:{number}", source) for number in range(size)]


def failing(keys: list[ResolvedKey], error: PlatformError) -> dict[str, list[Step]]:
    return {key.used.credential_id: [error] for key in keys}


# -- the next key -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [INVALID, UserApiKeyExhaustedError(), LIMITED])
async def test_another_key_is_tried_with_a_claim_and_an_event_of_its_own(
    error: PlatformError,
) -> None:
    worker = Worker([a_key(), a_key("platform:openai", PLATFORM)])
    worker.provider.scripts = {"mine": [error], "platform:openai": [an_answer()]}

    await worker.run(a_request())

    assert worker.resolver.asked == [(1, ()), (2, ("mine",))]
    assert worker.audience.kinds() == ["RunStarted", "RunCompleted"]
    first, second = worker.usage_log.events
    assert (first.attempt, first.outcome, first.key_source) == (1, "failed", "user")
    assert (second.attempt, second.outcome, second.key_source) == (2, "completed", "platform")
    assert first.usage_id != second.usage_id
    assert [ask.attempt for ask in worker.authorizer.asked] == [2]
    assert all(row.usage is not None for row in worker.store.rows.values())


async def test_a_pool_with_dead_keys_is_walked_with_a_hold_each() -> None:
    keys = a_pool(6)
    worker = Worker(keys)
    worker.provider.scripts = {**failing(keys[:5], SystemKeyExhaustedError()), "platform:5": [an_answer()]}

    await worker.run(a_request())

    assert [call.key.used.credential_id for call in worker.provider.calls] == [
        key.used.credential_id for key in keys
    ]
    assert worker.resolver.asked[-1] == (6, tuple(f"platform:{n}" for n in range(5)))
    assert [ask.attempt for ask in worker.authorizer.asked] == [1, 2, 3, 4, 5, 6]
    assert [usage.outcome for usage in worker.usage_log.events] == ["failed"] * 5 + ["completed"]
    assert len({usage.usage_id for usage in worker.usage_log.events}) == 6


async def test_a_run_does_not_try_for_ever() -> None:
    keys = a_pool(20)
    worker = Worker(keys, limits=replace(QUICK, attempts_max=4))
    worker.provider.scripts = failing(keys, LIMITED)

    await worker.run(a_request())

    assert len(worker.provider.calls) == len(worker.usage_log.events) == 4
    assert failure(worker).error.code == "provider_rate_limited"


async def test_after_the_first_chunk_no_other_key_is_tried() -> None:
    worker = Worker([a_key(), a_key("platform:openai", PLATFORM)])
    worker.provider.scripts["mine"] = [*chunks("a", usage=None), ProviderRateLimitedError()]

    await worker.run(a_request(stream=True))

    assert len(worker.provider.calls) == 1
    assert failure(worker).error.code == "provider_rate_limited"


@pytest.mark.parametrize(
    "error", [ProviderError(), ProviderTimeoutError(), InvalidRequestError("no such model")]
)
async def test_what_no_other_key_can_cure_is_not_tried_again(error: PlatformError) -> None:
    worker = Worker([a_key(), a_key("platform:openai", PLATFORM)])
    worker.provider.scripts["mine"] = [error]

    await worker.run(a_request())

    assert len(worker.resolver.asked) == 1


# -- what is told of the keys -----------------------------------------------------------------------------


async def test_the_client_is_told_of_every_key_that_was_used() -> None:
    platform = KeyUsed(PLATFORM, "platform:openrouter:1", KeyService.OPENROUTER, consent_id="yes-1")
    worker = Worker([a_key(), replace(a_key(), used=platform)])
    worker.provider.scripts = {"mine": [INVALID], "platform:openrouter:1": chunks("a", "b")}

    await worker.run(a_request(stream=True))

    first, second = worker.usage_log.events
    assert key_uses(worker) == (
        KeyUse(
            attempt=1,
            provider=KeyService.OPENAI,
            model="openai/gpt-4o-mini",
            key_source=KeySource.USER,
            credential_id="mine",
            outcome=Outcome.FAILED,
            error_code="user_api_key_invalid",
            timestamp=first.started_at,
        ),
        KeyUse(
            attempt=2,
            provider=KeyService.OPENAI,
            model="openai/gpt-4o-mini",
            key_source=PLATFORM,
            credential_id="platform:openrouter:1",
            outcome=Outcome.COMPLETED,
            timestamp=second.started_at,
        ),
    )
    assert (first.consent_id, second.consent_id) == (None, "yes-1")
    assert second.service is KeyService.OPENROUTER


async def test_the_usage_event_says_which_version_failed_and_how_long_to_wait() -> None:
    own = KeyUsed(KeySource.USER, "mine", KeyService.OPENAI, credential_version=3)
    worker = Worker([replace(a_key(), used=own), *a_pool(1)])
    worker.provider.scripts = {"mine": [LIMITED], "platform:0": [an_answer()]}

    await worker.run(a_request())

    first, second = worker.usage_log.events
    assert (first.credential_version, first.error_code, first.retry_after_s) == (3, LIMITED.code, 3)
    assert (second.credential_version, second.error_code, second.retry_after_s) == (None, None, None)


@pytest.mark.parametrize("error", [UserApiKeyInvalidError(retry_after_s=9), ProviderError(retry_after_s=9)])
async def test_a_users_refused_key_does_not_say_how_long_to_wait(error: PlatformError) -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [error]

    await worker.run(a_request())

    assert [usage.retry_after_s for usage in worker.usage_log.events] == [None]


async def test_a_platform_key_that_may_not_do_this_is_to_rest() -> None:
    worker = Worker(a_pool(2))
    forbidden = SystemKeyExhaustedError(retry_after_s=60)
    worker.provider.scripts = {"platform:0": [forbidden], "platform:1": [an_answer()]}

    await worker.run(a_request())

    assert [usage.retry_after_s for usage in worker.usage_log.events] == [60, None]


async def test_the_usage_event_says_which_policy_would_have_refused_the_key() -> None:
    required = KeyPolicy.USER_KEY_REQUIRED
    used = KeyUsed(PLATFORM, "platform:0", KeyService.OPENAI, would_refuse_policy=required)
    worker = Worker([a_key(), replace(a_key(), used=used)])
    worker.provider.scripts = {"mine": [INVALID], "platform:0": [an_answer()]}

    await worker.run(a_request(policy=required, report_only=True))

    assert [usage.would_refuse_policy for usage in worker.usage_log.events] == [None, required]
    assert [ask.attempt for ask in worker.authorizer.asked] == [2]


# -- how it ends when nothing helps -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "refusal", [SystemKeyExhaustedError(), ConsentRequiredError(), VaultUnavailableError()], ids=repr
)
async def test_a_run_begun_with_a_users_key_ends_by_the_error_that_began_it(refusal: PlatformError) -> None:
    worker = Worker([a_key(), *a_pool(1)])
    worker.provider.scripts = {"mine": [INVALID], "platform:0": [LIMITED]}
    worker.resolver.refusal = refusal

    await worker.run(a_request())

    assert failure(worker).error.code == "user_api_key_invalid"
    assert [usage.error_code for usage in worker.usage_log.events] == [INVALID.code, LIMITED.code]


async def test_with_no_other_key_there_is_one_attempt() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [INVALID]

    await worker.run(a_request())

    assert failure(worker).error.message == INVALID.message
    assert len(worker.usage_log.events) == len(worker.store.rows) == 1


async def test_what_no_key_of_the_pool_may_do_is_said() -> None:
    """One user's request is not to take the pool from everybody."""
    keys, asked = a_pool(2), NotAllowedError("openai does not allow this with the key", service="openai")
    worker = Worker(keys)
    worker.provider.scripts = failing(keys, asked)
    worker.resolver.refusal = SystemKeyExhaustedError("none left", retry_after_s=7)

    await worker.run(a_request())

    assert failure(worker).error.message == asked.message
    assert [usage.error_code for usage in worker.usage_log.events] == ["invalid_request"] * 2


@pytest.mark.parametrize("source", [PLATFORM, KeySource.TEAM_GATEWAY])
@pytest.mark.parametrize("size", [1, 3])
async def test_when_the_platforms_pool_runs_dry_its_keys_are_exhausted(source: KeySource, size: int) -> None:
    """Not rate limited, as the first one was: the whole pool is."""
    keys = a_pool(size, source)
    worker, request = Worker(keys), a_request()
    worker.provider.scripts = failing(keys, LIMITED)
    detail = "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
    worker.resolver.refusal = SystemKeyExhaustedError("none left", retry_after_s=7, detail=detail)

    await worker.run(request)

    error = failure(worker).error
    assert (error.code, error.retry_after_s, error.detail) == ("system_key_exhausted", 7, detail)
    assert [usage.error_code for usage in worker.usage_log.events] == ["provider_rate_limited"] * size
    last = worker.store.rows[request.run_id, size]
    assert last.error == error


async def test_a_leave_that_is_missing_for_the_rest_is_said() -> None:
    worker = Worker(a_pool(1))
    worker.provider.scripts = {"platform:0": [LIMITED]}
    worker.resolver.refusal = ConsentRequiredError(detail="allowGatewayFallback")

    await worker.run(a_request())

    assert (failure(worker).error.code, failure(worker).error.detail) == (
        "consent_required",
        "allowGatewayFallback",
    )


async def test_a_vault_that_is_away_is_no_dry_pool() -> None:
    worker = Worker(a_pool(1))
    worker.provider.scripts = {"platform:0": [LIMITED]}
    worker.resolver.refusal = VaultUnavailableError()

    await worker.run(a_request())

    assert failure(worker).error.code == "provider_rate_limited"


async def test_no_credits_for_the_other_key_ends_the_run_by_the_first_error() -> None:
    worker = Worker([a_key(), a_key("platform:openai", PLATFORM)])
    worker.provider.scripts["mine"] = [UserApiKeyInvalidError()]
    worker.authorizer.refusal = InsufficientCreditsError()

    await worker.run(a_request())

    assert failure(worker).error.code == "user_api_key_invalid"
    assert [usage.error_code for usage in worker.usage_log.events] == [
        "user_api_key_invalid",
        "insufficient_credits",
    ]
    assert len(worker.authorizer.asked) == 1


async def test_another_failure_of_the_other_key_is_the_runs_own() -> None:
    worker = Worker([a_key(), a_key("platform:openai", PLATFORM)])
    worker.provider.scripts = {
        "mine": [UserApiKeyInvalidError()],
        "platform:openai": [InvalidRequestError("bad n")],
    }

    await worker.run(a_request())

    assert failure(worker).error.message == "bad n"


# -- a claim that is cut short ----------------------------------------------------------------------------


class SecondClaim(InMemoryAttemptStore):
    """`then` happens when an attempt that follows another has just been claimed."""

    then: Callable[[UUID], object]

    async def claim(self, attempt: Attempt, request: RunRequested) -> bool:
        claimed = await super().claim(attempt, request)
        if attempt.number > 1:
            self.then(attempt.run_id)
            await asyncio.sleep(0)  # where work on a leash that was cut would end
        return claimed


async def test_a_run_cancelled_while_it_claims_leaves_no_attempt_unfinished() -> None:
    store = SecondClaim()
    worker, request = Worker(a_pool(2), store=store), a_request()
    store.then = worker.in_flight.cancel
    worker.provider.scripts = {"platform:0": [LIMITED], "platform:1": [an_answer()]}

    await worker.run(request)

    assert [usage.outcome for usage in worker.usage_log.events] == ["failed", "cancelled"]
    assert all(row.usage for row in store.rows.values())
    assert [call.key.used.credential_id for call in worker.provider.calls] == ["platform:0"]
    assert failure(worker).error.code == "run_cancelled"


@pytest.mark.parametrize("written", [True, False])
async def test_a_claim_whose_answer_was_lost_leaves_no_attempt_unfinished(written: bool) -> None:  # noqa: FBT001
    store = SecondClaim()
    worker, request = Worker([a_key(), *a_pool(1)], store=store), a_request()

    def lose(run_id: UUID) -> None:
        if not written:
            del store.rows[run_id, 2]
        raise DatabaseUnavailableError

    store.then = lose
    worker.provider.scripts["mine"] = [INVALID]

    await worker.run(request)

    assert failure(worker).error.code == INVALID.code
    assert all(row.usage for row in store.rows.values())
    codes = [INVALID.code, "database_unavailable"] if written else [INVALID.code]
    assert [usage.error_code for usage in worker.usage_log.events] == codes


# -- credits for one attempt at a time --------------------------------------------------------------------


async def test_a_hold_that_is_being_released_is_waited_for() -> None:
    """The failed attempt's hold is free only once billing has its usage event."""
    worker = Worker(a_pool(2))
    worker.provider.scripts = {"platform:0": [LIMITED], "platform:1": [an_answer()]}
    worker.authorizer.answers = [None, InsufficientCreditsError(), InsufficientCreditsError(), None]

    await worker.run(a_request())

    assert [usage.outcome for usage in worker.usage_log.events] == ["failed", "completed"]
    assert [ask.attempt for ask in worker.authorizer.asked] == [1, 2, 2, 2]


async def test_it_is_not_waited_for_in_vain_for_long() -> None:
    worker = Worker(a_pool(2))
    worker.provider.scripts = {"platform:0": [LIMITED]}
    worker.authorizer.answers, worker.authorizer.refusal = [None], InsufficientCreditsError()

    await worker.run(a_request())

    assert failure(worker).error.code == "provider_rate_limited"
    assert worker.usage_log.events[-1].error_code == "insufficient_credits"

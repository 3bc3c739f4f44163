"""A key is revoked while runs use it, or are about to."""

import asyncio

import pytest

from services.inference.domain.attempt import Attempt
from services.inference.use_cases.in_flight import InFlight
from services.inference.use_cases.revocations import Revocations
from shared.contracts.rpc import ErrorBody
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.usage import TokenCounts, UsageRecorded
from shared.kernel.errors import UserApiKeyInvalidError
from shared.kernel.names import KeySource, Outcome, TokensSource
from tests.fakes.inference import PLATFORM, Worker, a_key, a_request, an_answer, chunks
from tests.fakes.inference_store import InMemoryAttemptStore
from tests.unit.inference.watching import failure
from tests.waiting import until

pytestmark = pytest.mark.unit


class SlowStore(InMemoryAttemptStore):
    """Takes its time to say that an attempt is claimed, or ended."""

    async def claim(self, attempt: Attempt, request: RunRequested) -> bool:
        claimed = await super().claim(attempt, request)
        await asyncio.sleep(0.05)
        return claimed

    async def finish(
        self, usage: UsageRecorded, error: ErrorBody | None, end: RunEnded | None = None
    ) -> bool:
        ended = await super().finish(usage, error, end)
        await asyncio.sleep(0.05)
        return ended


def check_revoked(worker: Worker) -> None:
    error = failure(worker).error
    assert (error.code, error.detail) == ("user_api_key_invalid", "revoked")


async def revoked_in_the_middle(worker: Worker, request: RunRequested, credential_id: str = "mine") -> int:
    running = asyncio.create_task(worker.run(request))
    await until(lambda: bool(worker.provider.calls))
    await asyncio.sleep(0.01)
    stopped = worker.in_flight.revoke(credential_id)
    async with asyncio.timeout(2):
        await running
    return stopped


async def test_the_run_that_uses_it_ends_with_what_it_used() -> None:
    worker = Worker([a_key(), a_key("platform:0", PLATFORM)])
    worker.provider.scripts["mine"] = [*chunks("abcdefgh", usage=None), 30.0]

    assert await revoked_in_the_middle(worker, a_request(stream=True)) == 1

    check_revoked(worker)
    assert failure(worker).key_source is KeySource.USER
    [usage] = worker.usage_log.events
    assert (usage.outcome, usage.error_code, usage.credential_id) == (
        Outcome.FAILED,
        "user_api_key_invalid",
        "mine",
    )
    assert (usage.tokens.source, usage.tokens.completion) == (TokensSource.ESTIMATED, 2)


async def test_it_goes_on_with_no_other_key_even_before_the_first_word() -> None:
    worker = Worker([a_key(), a_key("platform:0", PLATFORM)])
    worker.provider.scripts = {"mine": [30.0], "platform:0": [an_answer()]}

    await revoked_in_the_middle(worker, a_request())

    check_revoked(worker)
    assert len(worker.provider.calls) == 1
    assert [usage.tokens for usage in worker.usage_log.events] == [TokenCounts()]


async def test_a_run_with_another_key_goes_on() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [0.05, an_answer()]

    assert await revoked_in_the_middle(worker, a_request(), "another") == 0

    assert worker.audience.kinds()[-1] == "RunCompleted"


async def test_a_run_that_has_left_the_key_behind_goes_on() -> None:
    worker = Worker([a_key(), a_key("platform:0", PLATFORM)])
    worker.provider.scripts = {"mine": [UserApiKeyInvalidError()], "platform:0": [0.05, an_answer()]}
    running = asyncio.create_task(worker.run(a_request()))
    await until(lambda: len(worker.provider.calls) == 2)

    assert worker.in_flight.revoke("mine") == 0
    await running

    assert worker.audience.kinds()[-1] == "RunCompleted"


async def test_a_run_that_has_gone_over_to_the_key_ends() -> None:
    worker = Worker([a_key(), a_key("other")])
    worker.provider.scripts = {"mine": [UserApiKeyInvalidError()], "other": [30.0]}
    running = asyncio.create_task(worker.run(a_request()))
    await until(lambda: len(worker.provider.calls) == 2)

    assert worker.in_flight.revoke("other") == 1
    async with asyncio.timeout(2):
        await running

    check_revoked(worker)


async def test_a_key_revoked_while_it_is_resolved_is_not_used() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.resolver.delay_s = 0.05
    running = asyncio.create_task(worker.run(request))
    await until(lambda: bool(worker.resolver.asked))

    worker.in_flight.revoke("mine")
    await running

    check_revoked(worker)
    assert worker.provider.calls == []
    [usage] = worker.usage_log.events
    assert (usage.outcome, usage.key_source) == (Outcome.REFUSED, None)


async def test_a_key_revoked_between_resolving_and_calling_is_not_used() -> None:
    store = SlowStore()
    worker = Worker([a_key()], store=store)
    worker.provider.scripts["mine"] = [an_answer()]
    running = asyncio.create_task(worker.run(a_request()))
    await until(lambda: any(row.attempt.key for row in store.rows.values()))

    assert worker.in_flight.revoke("mine") == 1
    await running

    check_revoked(worker)
    assert worker.provider.calls == []
    assert [usage.outcome for usage in worker.usage_log.events] == [Outcome.REFUSED]


async def test_the_next_key_revoked_while_it_is_resolved_is_not_used_either() -> None:
    worker = Worker([a_key(), a_key("other")])
    worker.provider.scripts["mine"] = [UserApiKeyInvalidError("openai does not accept your key")]
    worker.in_flight.revoke("other")

    await worker.run(a_request())

    assert failure(worker).error.message == "openai does not accept your key"
    assert len(worker.provider.calls) == len(worker.usage_log.events) == 1


async def test_the_next_key_revoked_before_it_is_called_is_not_used_either() -> None:
    store, request = SlowStore(), a_request()
    worker = Worker([a_key(), a_key("other")], store=store)
    worker.provider.scripts = {"mine": [UserApiKeyInvalidError("not accepted")], "other": [an_answer()]}
    running = asyncio.create_task(worker.run(request))
    await until(lambda: (request.run_id, 2) in store.rows)

    assert worker.in_flight.revoke("other") == 1
    await running

    assert failure(worker).error.message == "not accepted"
    assert len(worker.provider.calls) == 1
    assert [usage.outcome for usage in worker.usage_log.events] == [Outcome.FAILED, Outcome.REFUSED]


async def test_the_same_run_is_not_stopped_by_what_it_used_before() -> None:
    worker, request = Worker([a_key()]), a_request()
    worker.provider.scripts["mine"] = [an_answer()]
    await worker.run(request)

    assert worker.in_flight.revoke("mine") == 0


# -- what is remembered -----------------------------------------------------------------------------------


def test_a_revoked_key_is_remembered_longer_than_a_sealed_one_can_be_opened() -> None:
    clock = [0.0]
    revocations = Revocations(lambda: clock[0])
    revocations.add("old")
    clock[0] = 31.0
    revocations.add("new")

    for credential_id in ("old", "new"):
        with pytest.raises(UserApiKeyInvalidError) as refused:
            revocations.check(credential_id)
        assert refused.value.detail == "revoked"
    revocations.check("another")


def test_what_was_revoked_long_ago_is_forgotten() -> None:
    clock = [0.0]
    revocations = Revocations(lambda: clock[0])
    for number in range(1000):
        clock[0] = float(number)
        revocations.add(f"key-{number}")

    assert len(revocations) == 61


def test_a_revocation_that_comes_twice_is_remembered_from_the_second() -> None:
    clock = [0.0]
    revocations = Revocations(lambda: clock[0])
    for at, credential_id in ((0.0, "twice"), (30.0, "once"), (50.0, "twice"), (100.0, "late")):
        clock[0] = at
        revocations.add(credential_id)

    with pytest.raises(UserApiKeyInvalidError):
        revocations.check("twice")
    revocations.check("once")


def test_a_revocation_without_runs_stops_none() -> None:
    assert InFlight().revoke("any") == 0


def test_it_is_forgotten_after_a_minute_also_when_no_other_is_revoked() -> None:
    clock = [0.0]
    revocations = Revocations(lambda: clock[0])
    revocations.add("mine")
    with pytest.raises(UserApiKeyInvalidError):
        revocations.check("mine")

    clock[0] = 61.0
    revocations.check("mine")

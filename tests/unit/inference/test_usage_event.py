"""What a usage event tells of an attempt: its times, its price, and the provider's name for it."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from services.inference.domain.attempt import Attempt, Ending, usage_event
from services.inference.use_cases.quotes import Quotes
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import (
    InsufficientCreditsError,
    ProviderError,
    ServiceUnavailableError,
    UserApiKeyInvalidError,
    UserApiKeyRequiredError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, Outcome
from shared.kernel.prices import Price, Quote, Rate, Tariff
from tests.fakes.inference import PLATFORM, InMemoryQuoteFinder, Worker, a_key, a_request, an_answer, chunks
from tests.waiting import until

pytestmark = pytest.mark.unit

TARIFF = Tariff(Decimal("0.01"), Decimal(1))


def a_quote(version: str = "v1", usd: int = 1) -> Quote:
    return Quote(Price(version, Rate(Decimal(usd)), Rate(Decimal(usd))), TARIFF)


COST = 1200
"""Of the fakes' 7 + 5 tokens at a dollar the million, in micros."""


# -- times ------------------------------------------------------------------------------------------------


def event_of(*, number: int = 1, claimed_s: float, ended_s: float) -> UsageRecorded:
    began = datetime(2026, 11, 20, 12, tzinfo=UTC)
    request = a_request(requested_at=began)
    at = began + timedelta(seconds=claimed_s)
    attempt = Attempt(request.run_id, number, new_id(), "worker", at, resolve_ms=3)
    ending = Ending(Outcome.FAILED, first_token_ms=9, provider_request_id="req_1")
    return usage_event(request, attempt, ending, began + timedelta(seconds=ended_s))


def test_times_are_whole_milliseconds_since_the_request() -> None:
    event = event_of(claimed_s=0.0254, ended_s=1.5)

    assert (event.queue_ms, event.resolve_ms, event.first_token_ms, event.total_ms) == (25, 3, 9, 1500)
    assert event.provider_request_id == "req_1"


def test_only_the_first_attempt_was_in_the_queue() -> None:
    event = event_of(number=2, claimed_s=1, ended_s=2.5)

    assert (event.queue_ms, event.total_ms) == (None, 2500)


def test_an_edge_whose_clock_is_ahead_makes_no_time_negative() -> None:
    event = event_of(claimed_s=-0.5, ended_s=-0.1)

    assert (event.queue_ms, event.total_ms) == (0, 0)


async def test_each_attempt_tells_how_long_its_own_key_took() -> None:
    worker = Worker([a_key(), a_key("platform:0", PLATFORM)])
    worker.provider.scripts = {"mine": [UserApiKeyInvalidError()], "platform:0": [0.05, an_answer()]}
    worker.resolver.delay_s = 0.03

    await worker.run(a_request())

    first, second = worker.usage_log.events
    for usage in (first, second):
        assert usage.resolve_ms is not None
        assert 30 <= usage.resolve_ms < 1000
    assert (first.queue_ms is None, second.queue_ms is None) == (False, True)
    assert second.first_token_ms is not None
    assert second.total_ms is not None
    assert second.total_ms >= second.first_token_ms >= 50


async def test_without_a_key_there_is_no_time_for_one() -> None:
    worker = Worker()
    worker.resolver.refusal = UserApiKeyRequiredError()

    await worker.run(a_request())

    [usage] = worker.usage_log.events
    assert (usage.resolve_ms, usage.cost_micros) == (None, 0)


# -- the provider's name for the call ---------------------------------------------------------------------


@pytest.mark.parametrize("end", [[an_answer()], [ProviderError()]])
async def test_the_providers_request_id_is_kept_also_when_it_fails(end: list[object]) -> None:
    worker = Worker([a_key()])
    worker.provider.request_id = "req_7"
    worker.provider.scripts["mine"] = end  # type: ignore[assignment]

    await worker.run(a_request())

    assert worker.usage_log.events[0].provider_request_id == "req_7"


# -- what a platform attempt was worth --------------------------------------------------------------------


def platform_worker(quote: Quote | None) -> Worker:
    worker = Worker([a_key("platform:0", PLATFORM)])
    worker.authorizer.quote, worker.quote_finder.quote = quote, a_quote("another", 100)
    worker.provider.scripts["platform:0"] = [an_answer()]
    return worker


@pytest.mark.parametrize("policy", [KeyPolicy.PLATFORM_ONLY, KeyPolicy.USER_KEY_PREFERRED])
async def test_a_platform_attempt_is_rated_by_its_hold(policy: KeyPolicy) -> None:
    worker = platform_worker(a_quote())

    await worker.run(a_request(policy=policy))

    [usage] = worker.usage_log.events
    assert (usage.price_version, usage.cost_micros) == ("v1", COST)


async def test_who_can_only_pay_us_asks_no_price_beside_the_hold() -> None:
    worker = platform_worker(a_quote())

    await worker.run(a_request(policy=KeyPolicy.PLATFORM_ONLY))

    assert worker.quote_finder.asked == []


async def test_a_hold_without_a_quote_leaves_the_price_to_billing() -> None:
    worker = platform_worker(None)

    await worker.run(a_request())

    [usage] = worker.usage_log.events
    assert (usage.price_version, usage.cost_micros) == (None, None)


async def test_what_was_refused_costs_nothing() -> None:
    worker = platform_worker(a_quote())
    worker.authorizer.refusal = InsufficientCreditsError()

    await worker.run(a_request())

    assert worker.usage_log.events[0].cost_micros == 0


async def test_what_was_interrupted_tells_its_cost_all_the_same() -> None:
    worker, request = platform_worker(a_quote()), a_request(stream=True)
    worker.provider.scripts["platform:0"] = [*chunks("abcd"), 30.0]
    running = asyncio.create_task(worker.run(request))
    await until(lambda: len(worker.audience.told) > 1)

    worker.in_flight.interrupt()
    await running

    [usage] = worker.usage_log.events
    assert (usage.outcome, usage.cost_micros) == (Outcome.INTERRUPTED, COST)


# -- what an attempt on one's own key was worth -----------------------------------------------------------


async def test_an_own_keys_attempt_is_rated_by_the_price_that_billing_tells() -> None:
    worker = Worker([a_key()])
    worker.quote_finder.quote = a_quote()
    worker.provider.scripts["mine"] = [0.01, an_answer()]

    await worker.run(a_request())

    [usage] = worker.usage_log.events
    assert (usage.price_version, usage.cost_micros) == ("v1", COST)
    assert worker.authorizer.asked == []


async def test_the_systems_own_attempt_as_well() -> None:
    worker = Worker([a_key("platform:0", PLATFORM)])
    worker.quote_finder.quote = a_quote()
    worker.provider.scripts["platform:0"] = [0.01, an_answer()]

    await worker.run(a_request(policy=KeyPolicy.SYSTEM))

    assert worker.usage_log.events[0].cost_micros == COST


async def test_a_price_that_comes_too_late_is_not_waited_for() -> None:
    worker = Worker([a_key()])
    worker.quote_finder.quote, worker.quote_finder.delay_s = a_quote(), 30
    worker.provider.scripts["mine"] = [an_answer()]

    async with asyncio.timeout(1):
        await worker.run(a_request())

    [usage] = worker.usage_log.events
    assert (usage.outcome, usage.price_version, usage.cost_micros) == (Outcome.COMPLETED, None, None)


async def test_without_billing_a_run_on_ones_own_key_is_as_ever() -> None:
    worker = Worker([a_key()])
    worker.quote_finder.refusal = ServiceUnavailableError(service="billing")
    worker.provider.scripts["mine"] = [0.01, an_answer()]

    await worker.run(a_request())

    assert worker.audience.kinds() == ["RunCompleted"]
    assert worker.usage_log.events[0].cost_micros is None


# -- quotes, remembered -----------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def some_quotes(finder: InMemoryQuoteFinder) -> tuple[Quotes, Clock]:
    clock = Clock()
    return Quotes(finder, timeout_s=5, clock=clock), clock


MODEL = (KeyService.OPENAI, "openai/gpt-4o-mini")


async def test_many_runs_ask_once_and_all_learn_it() -> None:
    finder = InMemoryQuoteFinder(a_quote(), delay_s=0.01)
    quotes, _ = some_quotes(finder)

    asked = [quotes.ask(*MODEL) for _ in range(50)]
    assert {price.quote for price in asked} == {None}
    await asyncio.sleep(0.03)

    assert {price.quote for price in asked} == {a_quote()}
    assert quotes.ask(*MODEL).quote == a_quote()
    assert finder.asked == [MODEL]


async def test_a_price_is_asked_again_before_it_is_forgotten() -> None:
    finder = InMemoryQuoteFinder(a_quote())
    quotes, clock = some_quotes(finder)
    early = quotes.ask(*MODEL)
    await asyncio.sleep(0.01)
    finder.quote = a_quote("v2")

    clock.now_s += 31
    assert quotes.ask(*MODEL).quote == a_quote(), "what is known serves until the answer comes"
    await asyncio.sleep(0.01)

    assert quotes.ask(*MODEL).quote == a_quote("v2")
    assert early.quote == a_quote(), "a run keeps the price that it began with"
    assert len(finder.asked) == 2


async def test_a_price_of_long_ago_stands_in_until_billing_answers() -> None:
    finder = InMemoryQuoteFinder(a_quote())
    quotes, clock = some_quotes(finder)
    quotes.ask(*MODEL)
    await asyncio.sleep(0.01)
    finder.quote = None

    clock.now_s += 3600
    price = quotes.ask(*MODEL)
    before = price.best
    await asyncio.sleep(0.01)

    assert (before, price.best) == (a_quote(), None)


async def test_without_billing_the_last_price_serves_however_old() -> None:
    finder = InMemoryQuoteFinder(a_quote())
    quotes, clock = some_quotes(finder)
    long_run = quotes.ask(*MODEL)
    await asyncio.sleep(0.01)
    finder.refusal = ServiceUnavailableError()

    clock.now_s += 61
    quotes.ask(*MODEL)
    clock.now_s += 61
    late = quotes.ask(*MODEL)
    await asyncio.sleep(0.01)

    assert (late.best, late.quote, long_run.quote) == (a_quote(), None, a_quote())


async def test_that_nobody_knows_a_price_is_remembered_too() -> None:
    finder = InMemoryQuoteFinder(None)
    quotes, clock = some_quotes(finder)
    for _ in range(3):
        quotes.ask(*MODEL)
        await asyncio.sleep(0.01)
        clock.now_s += 5

    assert len(finder.asked) == 1


async def test_billing_that_is_away_is_asked_once_a_second_and_whoever_waits_still_learns_it() -> None:
    finder = InMemoryQuoteFinder(a_quote(), refusal=ServiceUnavailableError())
    quotes, clock = some_quotes(finder)
    waiting = quotes.ask(*MODEL)
    for _ in range(10):
        await asyncio.sleep(0)
        clock.now_s += 0.2
        quotes.ask(*MODEL)
    await asyncio.sleep(0.01)
    assert len(finder.asked) <= 3

    finder.refusal = None
    clock.now_s += 1.1
    quotes.ask(*MODEL)
    await asyncio.sleep(0.01)

    assert waiting.quote == a_quote()


async def test_models_that_nobody_knows_take_neither_memory_nor_billings_time() -> None:
    finder = InMemoryQuoteFinder(a_quote(), delay_s=5)
    quotes, _ = some_quotes(finder)

    for number in range(2_000):
        quotes.ask(KeyService.OPENAI, f"openai/made-up-{number}")
    await asyncio.sleep(0)

    assert len(finder.asked) == 32
    assert len(quotes) == 1_000

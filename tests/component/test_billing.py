"""billing behind its queues, on in-memory parts: messages as they arrive, from whom they may come."""

import asyncio
import json
from collections.abc import Iterator
from typing import TypeVar

import pytest
from pydantic import BaseModel

from services.billing.app import listen
from services.billing.handlers.parts import Parts
from shared.contracts.billing import GetReceipt, ListUsage, Receipt, RunAuthorized, UsagePage
from shared.contracts.credits import (
    AdjustCredits,
    Balance,
    CreditsAdjusted,
    CreditsCharged,
    CreditsGranted,
    CreditsMoved,
    DeductCredits,
    GetBalance,
    GrantCredits,
    ListStatement,
    StatementPage,
)
from shared.contracts.message import Message
from shared.contracts.prices import (
    FindPrice,
    ListPrices,
    PriceFound,
    PriceList,
    PriceSet,
    SetPrice,
)
from shared.contracts.rpc import Request, RpcReply
from shared.contracts.topology import BILLING_RPC, BILLING_USAGE
from shared.kernel.errors import DatabaseUnavailableError, ForbiddenError, InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, KeyService, KeySource, TransferKind
from shared.runtime.delivery import Delivery
from tests.envelopes import enveloped, event_body
from tests.fakes.billing import (
    MODEL,
    NOON,
    QUOTE,
    TARIFF,
    InMemoryPriceBook,
    authorization,
    usage_event,
)
from tests.fakes.billing_ledger import InMemoryLedgerStore
from tests.fakes.billing_prices import SPEC, InMemoryOverrides
from tests.fakes.bus import InMemoryBus
from tests.logs import Log, logging_as

pytestmark = pytest.mark.component

AnswerT = TypeVar("AnswerT", bound=BaseModel)


class Counter:
    """The whole service, where messages are handed in."""

    def __init__(self) -> None:
        self.store = InMemoryLedgerStore()
        self.woken = asyncio.Event()
        self._bus = InMemoryBus(BILLING)
        prices = InMemoryOverrides(under=InMemoryPriceBook())
        parts = Parts(
            ledger=self.store,
            credits=self.store,
            usage=self.store,
            prices=prices,
            price_store=prices,
            tariff=TARIFF,
            now=lambda: NOON,
            wake=self.woken.set,
        )
        listen(self._bus, parts, retry_s=0.01)

    async def ask(self, request: Request, answer: type[AnswerT], sender: str = API_EDGE) -> AnswerT:
        """Raise the typed error that was answered."""
        reply = await self.reply(request, sender)
        if reply.error is not None:
            raise reply.error.to_error()
        return answer.model_validate(reply.result)

    async def reply(self, request: Request, sender: str) -> RpcReply:
        body = event_body(request, source=sender)
        delivery = Delivery(body, sender, reply_to="reply.x", correlation_id="1")
        await self._bus.handlers[BILLING_RPC](delivery)
        return self._bus.answers.pop()

    async def tell(self, event: Message, sender: str = INFERENCE) -> None:
        (verdict,) = await self.tell_all(_delivery(event, sender))
        if verdict is not None:
            raise verdict

    async def tell_all(self, *deliveries: Delivery) -> list[Exception | None]:
        return await self._bus.hand_in(BILLING_USAGE, *deliveries)

    async def grant(self, credits_micros: int) -> CreditsMoved:
        request = GrantCredits(
            user_id="ada", amount_micros=credits_micros, idempotency_key="k", granted_by="root"
        )
        return await self.ask(request, CreditsMoved)


def _delivery(event: Message, sender: str = INFERENCE) -> Delivery:
    return Delivery(event_body(event, source=sender), sender)


@pytest.fixture
def counter() -> Counter:
    return Counter()


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_as(BILLING) as log:
        yield log


async def test_the_life_of_a_platform_run(counter: Counter) -> None:
    assert (await counter.grant(10_000)).balance_micros == 10_000
    request = authorization()
    authorized = await counter.ask(request, RunAuthorized, INFERENCE)
    assert authorized == RunAuthorized(hold_micros=2_000, expires_at=request.expires_at, quote=QUOTE)
    event = usage_event(run_id=request.run_id)
    await counter.tell(event)

    balance = await counter.ask(GetBalance(user_id="ada"), Balance)
    assert balance == Balance(balance_micros=8_000, held_micros=0, receivable_micros=0)
    receipt = await counter.ask(GetReceipt(user_id="ada", run_id=request.run_id), Receipt)
    (attempt,) = receipt.attempts
    assert (attempt.usage, attempt.cost_micros, attempt.charged_micros) == (event, 2_000, 2_000)
    page = await counter.ask(ListUsage(user_id="ada"), UsagePage)
    assert (page.items, page.next_cursor) == ((attempt,), None)
    assert [type(event) for event in counter.store.messages] == [CreditsGranted, CreditsCharged]
    assert counter.woken.is_set()


async def test_credits_moved_by_hand(counter: Counter) -> None:
    await counter.grant(10_000)
    adjusted = AdjustCredits(
        user_id="ada", amount_micros=-4_000, reason="a slip", idempotency_key="k", adjusted_by="root"
    )
    assert (await counter.ask(adjusted, CreditsMoved)).balance_micros == 6_000
    deducted = DeductCredits(user_id="ada", feature="export", amount_micros=1_000, idempotency_key="k")
    assert (await counter.ask(deducted, CreditsMoved)).balance_micros == 5_000
    refused = DeductCredits(user_id="ada", feature="export", amount_micros=5_001, idempotency_key="k2")
    reply = await counter.reply(refused, API_EDGE)
    assert reply.error is not None
    assert reply.error.code == "insufficient_credits"

    page = await counter.ask(ListStatement(user_id="ada"), StatementPage)
    kinds = [TransferKind.DEDUCTION, TransferKind.ADJUSTMENT, TransferKind.GRANT]
    assert [entry.kind for entry in page.items] == kinds
    assert [entry.balance_micros for entry in page.items] == [5_000, 6_000, 10_000]
    told = [type(message) for message in counter.store.messages]
    assert told == [CreditsGranted, CreditsAdjusted, CreditsAdjusted]


async def test_a_price_set_holds_for_those_who_ask(counter: Counter) -> None:
    ask = FindPrice(provider=KeyService.OPENAI, model=MODEL)
    assert (await counter.ask(ask, PriceFound, INFERENCE)).quote == QUOTE
    price = await counter.ask(SetPrice(model=MODEL, price=SPEC, set_by="root"), PriceSet)
    found = await counter.ask(ask, PriceFound, INFERENCE)
    assert found.quote is not None
    assert found.quote.price.version == price.version
    listed = await counter.ask(ListPrices(model=MODEL), PriceList)
    assert (listed.overrides, listed.current) == ((price,), found.quote)


async def test_a_byok_run_needs_no_account_and_costs_nothing(counter: Counter) -> None:
    event = usage_event(key_source=KeySource.USER)
    await counter.tell(event)
    receipt = await counter.ask(GetReceipt(user_id="ada", run_id=event.run_id), Receipt)
    assert [(a.cost_micros, a.charged_micros) for a in receipt.attempts] == [(2_000, 0)]
    assert counter.store.events == []


@pytest.mark.parametrize(
    ("request_", "sender"),
    [
        *((authorization(), sender) for sender in ("", API_EDGE, KEY_VAULT, "analyst")),
        *(
            (request, INFERENCE)
            for request in (
                GrantCredits(user_id="ada", amount_micros=1, idempotency_key="k", granted_by="x"),
                AdjustCredits(
                    user_id="ada", amount_micros=1, reason="?", idempotency_key="k", adjusted_by="x"
                ),
                DeductCredits(user_id="ada", feature="f", amount_micros=1, idempotency_key="k"),
                GetBalance(user_id="ada"),
                ListStatement(user_id="ada"),
                GetReceipt(user_id="ada", run_id=new_id()),
                ListUsage(user_id="ada"),
                SetPrice(model=MODEL, price=SPEC, set_by="x"),
                ListPrices(),
            )
        ),
        *((FindPrice(provider=KeyService.OPENAI, model=MODEL), sender) for sender in ("", API_EDGE)),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_each_request_has_its_callers(counter: Counter, request_: Request, sender: str) -> None:
    reply = await counter.reply(request_, sender)
    assert reply.error is not None
    assert reply.error.code == "forbidden"


@pytest.mark.parametrize("sender", ["", API_EDGE, KEY_VAULT, BILLING])
async def test_only_inference_says_what_was_used(counter: Counter, sender: str) -> None:
    with pytest.raises(ForbiddenError):
        await counter.tell(usage_event(), sender)
    assert counter.store.entries == []


@pytest.mark.parametrize(
    ("request_", "code"),
    [(authorization(), "insufficient_credits"), (authorization(model="openai/x"), "price_unknown")],
    ids=["insufficient_credits", "price_unknown"],
)
async def test_refusals_are_typed(counter: Counter, request_: Request, code: str) -> None:
    reply = await counter.reply(request_, INFERENCE)
    assert reply.error is not None
    assert (reply.error.code, reply.error.service) == (code, BILLING)


async def test_a_poisoned_event_is_refused_alone(counter: Counter) -> None:
    events = [usage_event(), usage_event(model="openai/\x00"), usage_event()]
    verdicts = await counter.tell_all(*map(_delivery, events))
    assert [type(verdict) for verdict in verdicts] == [type(None), InvalidRequestError, type(None)]
    assert len(counter.store.entries) == 2


async def test_usage_waits_for_a_database_that_is_away(counter: Counter) -> None:
    counter.store.error = DatabaseUnavailableError()
    telling = asyncio.create_task(counter.tell(usage_event()))
    await asyncio.sleep(0.05)
    assert not telling.done()
    counter.store.error = None
    await asyncio.wait_for(telling, 5)
    assert len(counter.store.entries) == 1


async def test_an_authorization_does_not_wait_for_it(counter: Counter) -> None:
    counter.store.error = DatabaseUnavailableError()
    reply = await counter.reply(authorization(), INFERENCE)
    assert reply.error is not None
    assert reply.error.code == "database_unavailable"


async def test_a_batch_is_one_line_and_a_malformed_event_leaves_nothing_in_it(
    counter: Counter, log: Log
) -> None:
    event = usage_event()
    envelope = enveloped(event, source=INFERENCE).model_dump(mode="json")
    envelope["data"]["model"] = {"sk-canary": "sk-canary"}
    malformed = json.dumps(envelope).encode()
    verdicts = await counter.tell_all(
        _delivery(event),
        Delivery(malformed, INFERENCE),
        _delivery(event),
        _delivery(event, KEY_VAULT),
        _delivery(usage_event(model="openai/sk-canary\x00")),
    )
    none, invalid = type(None), InvalidRequestError
    assert [type(verdict) for verdict in verdicts] == [none, invalid, none, ForbiddenError, invalid]
    (line,) = [line for line in log.lines if line["event"] == "usage batch"]
    counts = {name: line[name] for name in ("events", "kept", "known", "refused", "charged_micros")}
    assert counts == {"events": 5, "kept": 1, "known": 1, "refused": 3, "charged_micros": 2_000}
    assert "canary" not in log.getvalue() + str([str(verdict) for verdict in verdicts])

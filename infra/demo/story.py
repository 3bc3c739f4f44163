"""The story: each step does one thing through the product's own doors and checks what came of it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal

from infra.bootstrap import Realm, mint_token
from infra.demo.answers import Receipt, StoredKey
from infra.demo.checks import check
from infra.demo.edge import Caller, Refusal, Run, caller
from infra.demo.environment import Environment
from infra.demo.ledger import Ledger, UserBooks
from infra.demo.telling import Narrator
from infra.demo.usage_stream import Events, read_usage_events
from infra.simulator.control import read_calls
from shared.contracts.credits import CreditsCharged, CreditsGranted
from shared.contracts.message import Envelope, read
from shared.contracts.usage import UsageRecorded
from shared.kernel.money import credits_to_micros
from shared.kernel.names import KeySource, Outcome

CREDITS_GRANTED = Decimal(5)
_SLOW_STREAM = "[simulate chunks=12 chunk_ms=120]"


@dataclass(frozen=True)
class User:
    """A user made for one telling."""

    user_id: str
    edge: Caller


@dataclass(frozen=True)
class Told:
    """What the steps leave for the later ones."""

    key: str
    own: Run
    paid: Run
    refused: Refusal
    charged: Decimal


@asynccontextmanager
async def fresh_user(env: Environment, name: str) -> AsyncIterator[User]:
    """A user nobody has seen before, with a token of their own."""
    user_id = f"demo-{name}-{secrets.token_hex(4)}"
    token = await asyncio.to_thread(mint_token, env.postgres_url, Realm(env.realm), user_id, "user")
    async with caller(env.url, token) as edge:
        yield User(user_id, edge)


async def store_key(user: User, key: str) -> StoredKey:
    """The user's own OpenAI key goes in; only its hint comes back."""
    stored = await user.edge.store_key("openai", key)
    check(stored.service == "openai", f"the key was stored for {stored.service}")
    check(key not in stored.model_dump_json(), "the answer holds the whole key")
    return stored


async def own_key_run(env: Environment, user: User, key: str, narrator: Narrator) -> Run:
    """A streamed run with the user's own key, whose pieces arrive while the provider is still sending."""
    prompt = f"{_SLOW_STREAM} Good morning, {user.user_id}"
    pieces = 0

    def heard(text: str) -> None:
        nonlocal pieces
        narrator.piece(text, first=pieces == 0)
        pieces += 1

    run = await user.edge.streamed_run(prompt, flow="chat", heard=heard)
    narrator.end_piece()
    spread = run.last_piece_s - run.first_piece_s
    check(run.key_source == KeySource.USER, f"the run used the key source {run.key_source}")
    check(spread > 0.4, f"all pieces came within {spread:.2f} s: that is not streaming")  # noqa: PLR2004
    calls = read_calls(env.simulator_url)
    check(calls.with_key(key) == 1, f"the provider saw the user's key {calls.with_key(key)} times")
    check(calls.by_prompt.get(prompt) == 1, "the provider was not called exactly once")
    return run


async def check_receipt(user: User, run: Run, source: KeySource) -> Receipt:
    """The receipt of a run that went well at the first attempt."""
    receipt = await user.edge.receipt(run.run_id)
    sources = [attempt.key_source for attempt in receipt.attempts]
    outcomes = [attempt.outcome for attempt in receipt.attempts]
    check(sources == [source], f"the receipt tells the key sources {sources}")
    check(outcomes == [Outcome.COMPLETED], f"the receipt tells the outcomes {outcomes}")
    return receipt


async def check_deduction(user: User, run: Run, *, reason: str | None, charged: Decimal) -> None:
    """A frontend that would deduct for the run is told what billing did, and moves nothing."""
    before = await user.edge.balance()
    told = await user.edge.deduct(run.run_id)
    check((told.reason, told.charged) == (reason, charged), f"the frontend is told {told}")
    check(told.bypassed == (reason is not None), f"the frontend is told {told}")
    check(await user.edge.balance() == before, "asking moved credits")


async def grant(env: Environment, user: User, amount: Decimal) -> None:
    """The administrator gives credits; said twice with one idempotency key, they count once."""
    async with caller(env.url, env.admin_token) as admin:
        first = await admin.grant(user.user_id, amount, f"grant-{user.user_id}")
        again = await admin.grant(user.user_id, amount, f"grant-{user.user_id}")
    check(first.transfer_id == again.transfer_id, "the repeated grant was a second grant")
    balance = (await user.edge.balance()).balance
    check(balance == amount, f"the balance is {balance}")


async def platform_run(env: Environment, user: User) -> Run:
    """A run with the platform's key, paid in credits."""
    prompt = f"Think hard about {user.user_id}"
    run = await user.edge.plain_run(prompt, flow="deep_analysis")
    check(run.key_source == KeySource.PLATFORM, f"the run used the key source {run.key_source}")
    check(run.text.startswith("Echo: Think hard"), f"the answer was {run.text!r}")
    check(
        read_calls(env.simulator_url).by_prompt.get(prompt) == 1, "the provider was not called exactly once"
    )
    return run


async def strict_refusal(env: Environment, user: User) -> Refusal:
    """The strict flow refuses a user without a key, credits or not, and calls nobody."""
    prompt = f"Solve it for {user.user_id}"
    refusal = await user.edge.refused_run(prompt, flow="solver")
    seen = f"{refusal.status} {refusal.code}"
    check(seen == "403 user_api_key_required", f"the flow answered {seen}")
    check(prompt not in read_calls(env.simulator_url).by_prompt, "the provider was called all the same")
    return refusal


async def usage_events(env: Environment, told: Told, payer: User) -> Events:
    """The events of these runs and of the grant, read back from the stream."""
    run_ids = {told.own.run_id, told.paid.run_id, told.refused.run_id}

    def wanted(event: Envelope) -> bool:
        granted = event.type == CreditsGranted.event_type() and event.data["user_id"] == payer.user_id
        return granted or event.data.get("run_id") in run_ids

    events = await read_usage_events(env.analyst_amqp_url, wanted, lambda found: len(found) >= len(_EVENTS))
    types = sorted(event.type for event in events.values())
    check(types == sorted(_EVENTS), f"the stream told {', '.join(types)}")
    check(not any(told.key in event.model_dump_json() for event in events.values()), "an event holds the key")
    return events


_EVENTS = [
    UsageRecorded.event_type(),
    UsageRecorded.event_type(),
    UsageRecorded.event_type(),
    CreditsGranted.event_type(),
    CreditsCharged.event_type(),
]


def check_events(events: Events, told: Told) -> list[UsageRecorded]:
    """The events agree with the receipts; returns the usage in the order of the runs."""
    usage = {
        str(event.data["run_id"]): read(event, UsageRecorded)
        for event in events.values()
        if event.type == UsageRecorded.event_type()
    }
    own, paid, refused = (
        usage[run_id] for run_id in (told.own.run_id, told.paid.run_id, told.refused.run_id)
    )
    check(own.key_source == KeySource.USER, f"the first run's event tells {own.key_source}")
    check(paid.key_source == KeySource.PLATFORM, f"the second run's event tells {paid.key_source}")
    check(refused.outcome == Outcome.REFUSED, f"the refused run's event tells {refused.outcome}")
    charges = [event for event in events.values() if event.type == CreditsCharged.event_type()]
    charged = sum(read(event, CreditsCharged).charged_micros for event in charges)
    check(charged == credits_to_micros(told.charged), f"the stream tells a charge of {charged} micros")
    return [own, paid, refused]


def check_books(ledger: Ledger, told: Told, *, payer: User, own: User) -> None:
    """The ledger tells of the story's two users what the receipts told."""
    granted, charged = credits_to_micros(CREDITS_GRANTED), credits_to_micros(told.charged)
    paid, free = ledger.users[payer.user_id], ledger.users[own.user_id]
    check(paid == UserBooks(granted, charged, granted - charged, 0, 0), f"the ledger tells {paid}")
    check(free == UserBooks(0, 0, 0, 0, 0), f"the ledger tells {free}")

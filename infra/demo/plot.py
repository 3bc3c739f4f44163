"""The steps of the story in their order, told."""

import secrets
from contextlib import AsyncExitStack
from decimal import Decimal

from infra.demo import story
from infra.demo.checks import check
from infra.demo.edge import Run
from infra.demo.environment import Environment
from infra.demo.ledger import check_ledger, read_ledger
from infra.demo.platform_key import ensure_platform_key
from infra.demo.story import CREDITS_GRANTED, Told, User
from infra.demo.telling import Narrator
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import KeySource


async def tell(env: Environment, narrator: Narrator) -> None:
    """Tell the whole story. Raises StoryError at the first step that does not do what it says."""
    narrator.headline(f"Latchkey at {env.url}, provider simulator at {env.simulator_url}")
    if await ensure_platform_key(env):
        narrator.headline("Vault held no platform key for openai: a simulated one was put there.")
    async with AsyncExitStack() as stack:
        anna = await stack.enter_async_context(story.fresh_user(env, "anna"))
        bruno = await stack.enter_async_context(story.fresh_user(env, "bruno"))
        told = await _runs(env, narrator, anna, bruno)
        await _books(env, narrator, told, anna, bruno)


async def _runs(env: Environment, narrator: Narrator, anna: User, bruno: User) -> Told:
    key = f"sk-sim-anna-{secrets.token_hex(16)}"
    with narrator.step("Anna stores her own OpenAI key"):
        stored = await story.store_key(anna, key)
        narrator.say(f"encrypted by Vault, kept as {stored.id}, shown as {stored.hint}")
    with narrator.step("Anna runs a streamed completion (flow chat), without any credits"):
        own = await story.own_key_run(env, anna, key, narrator)
        narrator.say(f"run {own.run_id}: {own.pieces} pieces, the first after {own.first_piece_s:.2f} s,")
        narrator.say(f"the last after {own.last_piece_s:.2f} s; key source: {own.key_source}")
    with narrator.step("Her receipt: her key, no credits"):
        await _own_receipt(narrator, anna, own, stored.id)
    with narrator.step(
        f"The administrator grants Bruno {CREDITS_GRANTED} credits (twice, with one idempotency key)"
    ):
        await story.grant(env, bruno, CREDITS_GRANTED)
        narrator.say(f"balance: {CREDITS_GRANTED} credits")
    with narrator.step("Bruno, who has no key, runs the flow deep_analysis with the platform's key"):
        paid = await story.platform_run(env, bruno)
        narrator.say(f"run {paid.run_id}: {paid.text!r}; key source: {paid.key_source}")
    with narrator.step("His receipt: the platform's key, credits charged"):
        charged = await _paid_receipt(narrator, bruno, paid)
    with narrator.step("Bruno runs the strict flow solver, which takes nobody's key but his"):
        refused = await story.strict_refusal(env, bruno)
        narrator.say(f"refused with {refused.status} {refused.code}: {refused.message}")
    return Told(key, own, paid, refused, charged)


async def _own_receipt(narrator: Narrator, anna: User, run: Run, credential_id: str) -> None:
    receipt = await story.check_receipt(anna, run, KeySource.USER)
    attempt = receipt.attempts[0]
    check(attempt.credential_id == credential_id, f"the receipt tells the credential {attempt.credential_id}")
    check(receipt.charged == 0, f"{receipt.charged} credits were charged")
    narrator.say(
        f"{attempt.model} by {attempt.provider}: worth {attempt.cost}, charged {receipt.charged} credits"
    )
    await story.check_deduction(anna, run, reason="byok", charged=Decimal(0))
    narrator.say("a frontend that would deduct for it is told: bypassed, byok")


async def _paid_receipt(narrator: Narrator, bruno: User, run: Run) -> Decimal:
    receipt = await story.check_receipt(bruno, run, KeySource.PLATFORM)
    check(receipt.charged > 0, "nothing was charged")
    balance = await bruno.edge.balance()
    check(balance.balance == CREDITS_GRANTED - receipt.charged, f"the balance is {balance.balance}")
    check(balance.held == 0, f"{balance.held} credits are still held")
    narrator.say(f"charged {receipt.charged} credits; balance: {balance.balance}, held: {balance.held}")
    await story.check_deduction(bruno, run, reason=None, charged=receipt.charged)
    narrator.say("a frontend that would deduct for it is told the same charge, not a second one")
    return receipt.charged


async def _books(env: Environment, narrator: Narrator, told: Told, anna: User, bruno: User) -> None:
    with narrator.step("An analyst reads the events of all this back from the stream usage.events"):
        events = await story.usage_events(env, told, bruno)
        for usage in story.check_events(events, told):
            narrator.say(_line(usage))
        narrator.say(f"and the grant and the charge: {len(events)} events, no key in any of them")
    with narrator.step("The ledger adds up"):
        ledger = await read_ledger(env.postgres_url, [anna.user_id, bruno.user_id])
        check_ledger(ledger)
        story.check_books(ledger, told, payer=bruno, own=anna)
        narrator.say(f"{ledger.whole.transfers} transfers between {ledger.whole.accounts} accounts add up")
        narrator.say(f"Bruno: {CREDITS_GRANTED} granted - {told.charged} charged; no hold is left")
        narrator.say("Anna: nothing granted, nothing charged")
    narrator.headline("The story holds: every step did what it says.")


def _line(usage: UsageRecorded) -> str:
    tokens = usage.tokens
    return (
        f"{usage.run_id} {usage.flow:<13} {usage.key_source or '-':<8} {usage.outcome:<9} "
        f"{tokens.prompt}+{tokens.completion} tokens ({tokens.source})"
    )

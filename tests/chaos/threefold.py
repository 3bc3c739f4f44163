"""Every usage event delivered three times, shuffled: the balances are those of the clean run, to the byte."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import count
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import aio_pika
import orjson

from shared.contracts.message import CONTENT_TYPE
from shared.contracts.topology import BILLING_USAGE
from shared.contracts.usage import UsageRecorded
from shared.kernel.names import INFERENCE
from tests.acceptance.house import House, eventually
from tests.chaos.experiment import Tally
from tests.chaos.grounds import Grounds
from tests.chaos.users import OWN, PAID, User, a_payer, an_owner
from tests.chaos.witness import all_is_over, told

_TIMES: Final = 3
_ENDED_S: Final = 60.0
_DIRECTIVES: Final = ("", "", "", "no_usage", "status=500", "cut_after=2", "tokens=7,50", "tokens=90,1")
_ACCOUNTS: Final = """
    SELECT kind, posted_micros, held_micros FROM billing.accounts WHERE user_id = $1 ORDER BY kind
"""
_ENTRIES: Final = """
    SELECT kind, amount_micros FROM billing.transfers WHERE user_id = $1 ORDER BY kind, amount_micros
"""
_WHOLE_LEDGER: Final = """
    SELECT kind, user_id, posted_micros, held_micros FROM billing.accounts ORDER BY kind, user_id
"""
_ALL_ENTRIES: Final = "SELECT seq, idempotency_key, amount_micros FROM billing.transfers ORDER BY seq"


class Wish(NamedTuple):
    """One run as a script has it."""

    prompt: str
    stream: bool


async def deliver_threefold(at: Grounds, tally: Tally, *, users: int, each: int) -> None:
    """Two populations do the same. The events of the one come as they do; those of the other are held back,
    and come three times, shuffled; then all come three times more.
    """
    flows = [OWN if number % 3 == 0 else PAID for number in range(users)]
    clean, other = await _population(at.house, flows), await _population(at.house, flows)
    scripts = [[_wish(tally) for _ in range(each)] for _ in flows]
    numbers = count()

    await _live(clean, scripts, tally, numbers)
    await all_is_over(at.house)
    async with _nothing_for_billing(at.house):
        await _live(other, scripts, tally, numbers)
        await _all_told(at.house)
    await _deliver(at.house, tally)
    await all_is_over(at.house)
    assert await _state(at.house, other) == await _state(at.house, clean)

    before = await _whole_ledger(at.house)
    await _deliver(at.house, tally)
    await _until_taken(at.house)
    assert await _whole_ledger(at.house) == before


async def _population(house: House, flows: Sequence[str]) -> list[User]:
    return [await (an_owner(house) if flow == OWN else a_payer(house)) for flow in flows]


def _wish(tally: Tally) -> Wish:
    how = tally.rng.choice(_DIRECTIVES)
    words = " ".join(tally.rng.choices(("sun", "moon", "and", "stars"), k=tally.rng.randrange(1, 9)))
    return Wish(f"[simulate latency_ms={tally.rng.randrange(50)} {how}] {words}", tally.rng.random() < 0.5)


async def _live(
    users: Sequence[User], scripts: Sequence[Sequence[Wish]], tally: Tally, numbers: "count[int]"
) -> None:
    async def follow(user: User, script: Sequence[Wish]) -> None:
        for wish in script:
            prompt = f"{wish.prompt} {next(numbers):06}"
            tally.asked.append(await user.ask(prompt, stream=wish.stream))

    await asyncio.gather(*(follow(*each) for each in zip(users, scripts, strict=True)))


@asynccontextmanager
async def _nothing_for_billing(house: House) -> AsyncIterator[None]:
    """Usage events reach the stream, and not billing."""
    async with await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        queue = await (await connection.channel()).get_queue(BILLING_USAGE)
        await queue.unbind(UsageRecorded.EXCHANGE, UsageRecorded.ROUTING_KEY)
        try:
            yield
        finally:
            await queue.bind(UsageRecorded.EXCHANGE, UsageRecorded.ROUTING_KEY)


async def _all_told(house: House) -> None:
    async def is_so() -> bool:
        return await house.rows("SELECT 1 FROM inference.attempts WHERE published_at IS NULL") == []

    await eventually(is_so, "all attempts have ended and are told", timeout_s=_ENDED_S)


async def _deliver(house: House, tally: Tally) -> None:
    """Everything that the stream has, so many times, in any order, as the workers would."""
    url = house.realm.env(INFERENCE)["LATCHKEY_AMQP_URL"]
    bodies = await _recorded(house) * _TIMES
    tally.rng.shuffle(bodies)
    async with await aio_pika.connect(url) as connection:
        exchange = await (await connection.channel()).get_exchange(UsageRecorded.EXCHANGE, ensure=False)
        login = unquote(urlsplit(url).username or "")
        messages = (_message(body, login) for body in bodies)
        await asyncio.gather(*(exchange.publish(each, UsageRecorded.ROUTING_KEY) for each in messages))


def _message(body: bytes, login: str) -> aio_pika.Message:
    return aio_pika.Message(
        body,
        content_type=CONTENT_TYPE,
        user_id=login,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
    )


async def _recorded(house: House) -> list[bytes]:
    """The distinct usage events of the stream."""
    return list({event["id"]: orjson.dumps(event) async for event in told(house, UsageRecorded)}.values())


async def _until_taken(house: House) -> None:
    """Until billing has acknowledged all that it was given."""
    async with await aio_pika.connect(house.realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        channel = await connection.channel()

        async def is_so() -> bool:
            queue = await channel.declare_queue(BILLING_USAGE, passive=True)
            return not queue.declaration_result.message_count

        await eventually(is_so, "billing has taken all")


async def _state(house: House, users: Sequence[User]) -> list[bytes]:
    """Each user's balances and entries."""
    return [
        orjson.dumps(
            [
                [list(row) for row in await house.rows(query, user.caller.user_id)]
                for query in (_ACCOUNTS, _ENTRIES)
            ]
        )
        for user in users
    ]


async def _whole_ledger(house: House) -> bytes:
    return orjson.dumps(
        [[list(row) for row in await house.rows(query)] for query in (_WHOLE_LEDGER, _ALL_ENTRIES)]
    )

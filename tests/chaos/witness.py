"""What must be true of every run, whatever was killed."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import orjson

from infra.event_stream import FIRST, EventStream
from shared.contracts.credits import CreditsCharged
from shared.contracts.message import Message
from shared.contracts.usage import UsageRecorded
from tests.acceptance.house import House, eventually
from tests.chaos.users import OK, Asked

_PATIENCE_S: Final = 120.0
_UNFINISHED: Final = {
    "attempts without an end": "SELECT usage_id FROM inference.attempts WHERE outcome IS NULL",
    "ends that billing does not know": """
        SELECT usage_id FROM inference.attempts EXCEPT SELECT usage_id FROM billing.usage
    """,
    "ends not noted as published": "SELECT usage_id FROM inference.attempts WHERE published_at IS NULL",
    "open holds": "SELECT run_id FROM billing.holds WHERE state = 'held'",
    "charges that nobody was told of": "SELECT event_id FROM billing.outbox",
}
_WRONGS: Final = {
    "an attempt was billed under another id, or as something else": """
        SELECT a.run_id FROM inference.attempts a JOIN billing.usage u USING (run_id, attempt)
        WHERE u.usage_id <> a.usage_id OR u.outcome <> a.outcome OR u.user_id <> a.user_id
    """,
    "billing knows an attempt that nobody made": """
        SELECT usage_id FROM billing.usage EXCEPT SELECT usage_id FROM inference.attempts
    """,
    "an attempt was charged that is not to be, or not what it cost": """
        SELECT usage_id FROM (
            SELECT a.usage_id, u.cost_micros, u.charged_micros,
                   a.key_source IN ('platform', 'team_gateway') AND a.policy <> 'system'
                   AND a.outcome NOT IN ('refused', 'expired', 'interrupted')
                   AND a.usage -> 'tokens' ->> 'source' IN ('measured', 'estimated') AS is_charged
            FROM inference.attempts a JOIN billing.usage u USING (usage_id)
        ) AS billed
        WHERE charged_micros IS DISTINCT FROM CASE WHEN is_charged THEN cost_micros ELSE 0 END
           OR (is_charged AND charged_micros = 0)
    """,
    "the transfers of an attempt are not its charge": """
        SELECT u.usage_id FROM billing.usage u LEFT JOIN billing.transfers t ON t.cause_id = u.usage_id
        GROUP BY u.usage_id, u.charged_micros
        HAVING coalesce(sum(t.amount_micros), 0) <> u.charged_micros
            OR count(*) FILTER (WHERE t.kind = 'charge') > 1
            OR count(*) FILTER (WHERE t.kind = 'receivable') > 1
    """,
}


async def check_runs(house: House, asked: Iterable[Asked]) -> None:
    """Every run ended once, was called at most once, told once under one id, and charged as it should be."""
    await all_is_over(house)
    for wrong, query in _WRONGS.items():
        assert await house.rows(query) == [], wrong
    calls = house.calls().by_prompt
    assert {prompt: count for prompt, count in calls.items() if count > 1} == {}, "called again by itself"
    asked = list(asked)
    assert len({run.run_id for run in asked}) == len(asked)
    completed = {
        str(row["run_id"])
        for row in await house.rows("SELECT run_id FROM inference.attempts WHERE outcome = 'completed'")
    }
    unknown = {run.run_id for run in asked if run.code == OK} - completed
    assert unknown == set(), "an answered run is not on record"
    await check_stream(house)


async def all_is_over(house: House) -> None:
    """Wait until every attempt has ended and is billed, and everybody was told."""
    left: dict[str, list[str]] = {}

    async def is_over() -> bool:
        for what, query in _UNFINISHED.items():
            left[what] = [str(row[0]) for row in await house.rows(query)]
        return not any(left.values())

    try:
        await eventually(is_over, "all is over", timeout_s=_PATIENCE_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: { {what: ids for what, ids in left.items() if ids} }") from None


async def told(house: House, event: type[Message]) -> AsyncIterator[dict[str, Any]]:
    """The stream's events of one kind, as often as they are there."""
    stream = EventStream(house.realm.admin["LATCHKEY_ANALYST_AMQP_URL"])
    async for batch in stream.read(FIRST, await stream.end()):
        for entry in batch:
            envelope = orjson.loads(entry.body)
            if envelope["type"] == event.event_type():
                yield envelope


async def check_stream(house: House) -> None:
    """The stream tells each attempt, and each charge, under one id and in the same words, however often."""
    attempts, charges = await _tellings(house, UsageRecorded), await _tellings(house, CreditsCharged)
    for what, tellings in (*attempts.items(), *charges.items()):
        assert len(tellings) == 1, f"{what} was told in {len(tellings)} ways"
    ended = {row[0] for row in await house.rows("SELECT usage_id::text FROM inference.attempts")}
    assert ended - attempts.keys() == set(), "attempts that the stream does not tell"
    assert attempts.keys() - ended == set(), "attempts that nobody made"
    assert all(event_id == usage_id for usage_id, [(event_id, _)] in attempts.items())
    billed = await house.rows("SELECT usage_id::text FROM billing.usage WHERE charged_micros > 0")
    charged = {row[0] for row in billed}
    assert charged - charges.keys() == set(), "charges that the stream does not tell"
    assert charges.keys() - charged == set(), "charges that nobody made"


async def _tellings(house: House, event: type[Message]) -> dict[str, set[tuple[str, bytes]]]:
    """By usage id: event id and contents."""
    found: dict[str, set[tuple[str, bytes]]] = defaultdict(set)
    async for envelope in told(house, event):
        words = orjson.dumps(envelope["data"], option=orjson.OPT_SORT_KEYS)
        found[envelope["data"]["usage_id"]].add((envelope["id"], words))
    return found

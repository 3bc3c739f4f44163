"""`latchkey dead-letters` on a real broker: nothing is taken that nobody decided on, nothing is lost."""

import json
from collections.abc import Sequence
from typing import Final

import httpx2
import pytest

from infra.dead_letters import Fate, settle
from shared.contracts.topology import BILLING_USAGE
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import BILLING, INFERENCE
from shared.runtime.bus import Bus
from shared.runtime.delivery import Delivery
from tests.fakes.billing import usage_event
from tests.latchkey import latchkey
from tests.quiet import dead_letters
from tests.realm import BusFor, TestRealm
from tests.waiting import until

pytestmark = pytest.mark.integration

_COUNT: Final = 3
_LOOKS: Final = 25


class Taker:
    """billing, at first of a version that understands nothing."""

    def __init__(self) -> None:
        self.understands = False
        self.taken: list[Delivery] = []

    async def take(self, deliveries: Sequence[Delivery]) -> list[Exception | None]:
        if not self.understands:
            return [InvalidRequestError("never heard of it") for _ in deliveries]
        self.taken.extend(deliveries)
        return [None] * len(deliveries)

    @property
    def ids(self) -> list[str]:
        return [delivery.envelope.id for delivery in self.taken]


@pytest.fixture
async def taker(bus_for: BusFor) -> Taker:
    made, billing = Taker(), bus_for(BILLING)
    billing.subscribe_batches(BILLING_USAGE, made.take)
    await billing.start()
    return made


@pytest.fixture
async def refused(taker: Taker, bus_for: BusFor, realm: TestRealm) -> list[str]:
    """Return the ids of events that were refused, in order."""
    worker: Bus = bus_for(INFERENCE)
    await worker.start()
    events = [usage_event() for _ in range(_COUNT)]
    for event in events:
        await worker.publish(event, event_id=str(event.usage_id))
    await until(lambda: _dead(realm, _COUNT))
    return [str(event.usage_id) for event in events]


async def _dead(realm: TestRealm, count: int) -> bool:
    return (await dead_letters(realm))[f"{BILLING_USAGE}.dlq"] == count


async def _there(realm: TestRealm, fate: Fate = Fate.WAIT) -> list[str | None]:
    url = realm.admin["LATCHKEY_AMQP_URL"]
    return [letter.id async for letter in settle(url, BILLING_USAGE, fate)]


async def test_a_look_tells_what_they_are_and_leaves_them_where_they_are(
    realm: TestRealm, refused: list[str]
) -> None:
    code, told = await latchkey(realm, "dead-letters")
    *lines, sum_ = told.splitlines()
    assert (code, sum_, [line.split()[-1] for line in lines]) == (0, "3 waiting", refused)
    assert lines[0].startswith(f"{BILLING_USAGE}  20")
    assert f"  rejected  usage.recorded.v1  {realm.name}_inference  " in lines[0]

    _, told = await latchkey(realm, "dead-letters", BILLING_USAGE, "--format", "json")
    assert [json.loads(line)["id"] for line in told.splitlines()] == refused
    await _there(realm, Fate.DISCARD)


async def test_however_often_they_are_looked_at_they_stay(realm: TestRealm, refused: list[str]) -> None:
    """RabbitMQ 4 drops what came back to a quorum queue 20 times."""
    for _ in range(_LOOKS):
        assert await _there(realm) == refused
    assert await _there(realm, Fate.DISCARD) == refused


async def test_what_is_put_back_is_its_senders_still(
    realm: TestRealm, refused: list[str], taker: Taker
) -> None:
    taker.understands = True
    code, told = await latchkey(realm, "dead-letters", BILLING_USAGE, "--requeue")
    assert (code, told.splitlines()[-1]) == (0, "3 put back")
    await until(lambda: len(taker.taken) == _COUNT)
    assert (taker.ids, {delivery.sender for delivery in taker.taken}) == (refused, {INFERENCE})
    assert await _there(realm) == []


async def test_what_is_refused_again_is_there_again_and_is_put_back_once(
    realm: TestRealm, refused: list[str], taker: Taker
) -> None:
    assert await _there(realm, Fate.REQUEUE) == refused
    await until(lambda: _dead(realm, _COUNT))
    _, told = await latchkey(realm, "dead-letters", BILLING_USAGE)
    assert told.count(f"  rejected  usage.recorded.v1  {realm.name}_inference  ") == _COUNT, (
        "as the first time"
    )
    assert await _there(realm, Fate.DISCARD) == refused
    assert taker.taken == []


async def test_one_is_thrown_away_and_the_others_wait(realm: TestRealm, refused: list[str]) -> None:
    one = ("dead-letters", BILLING_USAGE, "--discard", "--id", refused[1])
    code, told = await latchkey(realm, *one)
    assert (code, told.splitlines()[-1]) == (0, "1 thrown away")
    assert await _there(realm) == [refused[0], refused[2]]

    code, told = await latchkey(realm, *one)
    assert (code, told) == (1, "0 thrown away\n"), "it is not there any more"
    assert await _there(realm, Fate.DISCARD) == [refused[0], refused[2]]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--discard"], 1, "say of which queue"),
        (["billing.usage", "--requeue", "--discard"], 2, "not allowed with"),
        (["no.such.queue"], 2, "invalid choice"),
    ],
)
async def test_what_cannot_be_meant_is_said(realm: TestRealm, words: list[str], code: int, said: str) -> None:
    ended, told = await latchkey(realm, "dead-letters", *words)
    assert ended == code
    assert said in told


@pytest.mark.parametrize("other", [None, {"pattern": ".*", "definition": {"max-length": 9}, "priority": 11}])
async def test_where_the_broker_would_lose_them_none_is_put_back(
    realm: TestRealm, refused: list[str], other: dict[str, object] | None
) -> None:
    policies = f"{realm.admin['RABBITMQ_MANAGEMENT_URL']}/api/policies/{realm.name}"
    with httpx2.Client(trust_env=False) as http:
        ours = f"{policies}/dead letters of {BILLING_USAGE}"
        policy = http.get(ours).raise_for_status().json()
        (http.put(f"{policies}/other", json=other) if other else http.delete(ours)).raise_for_status()
        try:
            code, told = await latchkey(realm, "dead-letters", BILLING_USAGE, "--requeue")
        finally:
            http.put(ours, json=policy).raise_for_status()
            http.delete(f"{policies}/other")
    assert (code, "no policy that takes dead letters back" in told) == (1, True)
    assert await _there(realm, Fate.DISCARD) == refused


async def test_what_an_older_version_left_beside_ours_changes_nothing(
    realm: TestRealm, refused: list[str], taker: Taker
) -> None:
    taker.understands = True
    older = f"{realm.admin['RABBITMQ_MANAGEMENT_URL']}/api/policies/{realm.name}/dead letters are kept"
    kept = {"pattern": r"\.dlq$", "apply-to": "queues", "definition": {"delivery-limit": 9}, "priority": 0}
    with httpx2.Client(trust_env=False) as http:
        http.put(older, json=kept).raise_for_status()
        try:
            code, told = await latchkey(realm, "dead-letters", BILLING_USAGE, "--requeue")
        finally:
            http.delete(older)
    assert (code, told.splitlines()[-1]) == (0, "3 put back")
    await until(lambda: len(taker.taken) == _COUNT)
    assert taker.ids == refused


async def test_who_is_no_administrator_is_refused(realm: TestRealm, refused: list[str]) -> None:
    code, told = await latchkey(
        realm, "dead-letters", LATCHKEY_AMQP_URL=realm.admin["LATCHKEY_ANALYST_AMQP_URL"]
    )
    assert code == 1
    assert "ACCESS_REFUSED" in told
    assert len(told.splitlines()) == 1
    assert await _there(realm, Fate.DISCARD) == refused

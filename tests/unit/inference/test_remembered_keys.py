"""A user's stored key is remembered for a moment, and nobody else's, and not when something has changed."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pytest

from services.inference.use_cases.remembered_keys import RememberedKeys
from shared.contracts.runs import RunRequested
from shared.kernel.errors import PlatformError, UserApiKeyRequiredError
from shared.kernel.names import KeyPolicy, KeySource
from tests.fakes.inference import PLATFORM, InMemoryKeyResolver, a_key, a_request
from tests.garbage import cyclic_garbage

pytestmark = pytest.mark.unit

TIMEOUT_S: Final = 5.0


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def remembering(*sources: KeySource) -> tuple[RememberedKeys, InMemoryKeyResolver, Time]:
    resolver = InMemoryKeyResolver([a_key(source.value, source) for source in sources])
    clock = Time()
    return RememberedKeys(resolver, timeout_s=TIMEOUT_S, clock=clock), resolver, clock


async def resolve(keys: RememberedKeys, excluding: tuple[str, ...] = (), **changes: object) -> str:
    key = await keys.resolve(a_request(**changes), 1, excluding=excluding, timeout_s=1)
    return key.used.credential_id


@pytest.mark.parametrize("source", [KeySource.USER, KeySource.USER_GATEWAY])
async def test_a_users_own_is_asked_for_once_a_moment(source: KeySource) -> None:
    keys, resolver, clock = remembering(source)
    assert [await resolve(keys) for _ in range(5)] == [source.value] * 5
    assert len(resolver.asked) == 1
    clock.now = 0.25
    await resolve(keys)
    assert len(resolver.asked) == 2


@pytest.mark.parametrize("source", [PLATFORM, KeySource.TEAM_GATEWAY, KeySource.REQUEST, KeySource.SESSION])
async def test_nobody_elses_is_remembered(source: KeySource) -> None:
    keys, resolver, _ = remembering(source)
    await asyncio.gather(*(resolve(keys) for _ in range(5)))
    await resolve(keys)
    assert len(resolver.asked) == 6


@pytest.mark.parametrize(
    "changes",
    [
        {"user_id": "bob"},
        {"flow": "solver"},
        {"policy": KeyPolicy.USER_KEY_REQUIRED},
        {"report_only": True},
        {"provider": "groq"},
    ],
)
async def test_another_run_is_another_question(changes: dict[str, Any]) -> None:
    keys, resolver, _ = remembering(KeySource.USER)
    await resolve(keys)
    await resolve(keys, **changes)
    assert len(resolver.asked) == 2


@pytest.mark.parametrize("together", [1, 3])
async def test_who_has_no_key_does_not_wait_for_the_garbage_collection(together: int) -> None:
    async def refused() -> None:
        with suppress(PlatformError):
            await resolve(keys)

    keys, _, _ = remembering()
    with cyclic_garbage() as garbage:
        await asyncio.gather(*(refused() for _ in range(together)))
    assert not [each for each in garbage if isinstance(each, RunRequested | PlatformError)]


async def test_what_failed_is_not_offered_again() -> None:
    keys, resolver, _ = remembering(KeySource.USER, PLATFORM)
    await resolve(keys)
    assert await resolve(keys, ("user",)) == "platform"
    assert len(resolver.asked) == 2


async def test_those_who_come_together_ask_once() -> None:
    keys, resolver, _ = remembering(KeySource.USER)
    resolver.delay_s = 0.02
    assert await asyncio.gather(*(resolve(keys) for _ in range(20))) == ["user"] * 20
    assert len(resolver.asked) == 1


async def test_who_gives_up_takes_it_from_nobody() -> None:
    keys, resolver, _ = remembering(KeySource.USER)
    resolver.delay_s = 0.02
    first = asyncio.create_task(resolve(keys))
    await asyncio.sleep(0.005)
    second = asyncio.create_task(resolve(keys))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "user"
    assert len(resolver.asked) == 1


async def test_a_refusal_is_everybodys_and_is_not_remembered() -> None:
    keys, resolver, _ = remembering()
    resolver.refusal, resolver.delay_s = UserApiKeyRequiredError(), 0.01
    refused = await asyncio.gather(*(resolve(keys) for _ in range(3)), return_exceptions=True)
    assert [type(each) for each in refused] == [UserApiKeyRequiredError] * 3
    resolver.keys = [a_key()]
    assert await resolve(keys) == "mine"


async def test_a_change_makes_it_forgotten_also_while_it_is_asked_for() -> None:
    keys, resolver, _ = remembering(KeySource.USER)
    await resolve(keys)
    keys.forget("bob")
    await resolve(keys)
    assert len(resolver.asked) == 1
    keys.forget("ann")
    await resolve(keys)
    assert len(resolver.asked) == 2

    keys.forget("ann")
    resolver.delay_s = 0.02
    asking = asyncio.create_task(resolve(keys))
    await asyncio.sleep(0.005)
    keys.forget("ann")
    late = asyncio.create_task(resolve(keys))
    await asyncio.gather(asking, late)
    assert len(resolver.asked) == 4


async def test_it_does_not_grow() -> None:
    keys, _, clock = remembering(KeySource.USER)
    requests: Callable[[int], RunRequested] = lambda number: a_request(user_id=f"user-{number}")  # noqa: E731
    for number in range(50):
        clock.now = number
        await keys.resolve(requests(number), 1, excluding=(), timeout_s=1)
    assert len(keys) <= 2


async def test_whoever_has_little_time_asks_for_all_with_as_much_as_there_is() -> None:
    keys, resolver, _ = remembering(KeySource.USER)
    await asyncio.gather(
        *(keys.resolve(a_request(), 1, excluding=(), timeout_s=patience_s) for patience_s in (0.01, 5.0))
    )
    assert resolver.patience_s == [TIMEOUT_S]

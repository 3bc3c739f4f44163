"""Readiness: what is missing, what cannot be seen, and how often anyone looks."""

import asyncio

import pytest

from services.api_edge.use_cases.check_readiness import CheckReadiness, PartState
from shared.kernel.errors import BusUnavailableError, DatabaseUnavailableError

pytestmark = pytest.mark.unit


async def _there() -> bool:
    return True


async def _missing() -> bool:
    return False


async def _unseen() -> bool:
    raise BusUnavailableError


async def _refused() -> bool:
    raise DatabaseUnavailableError


async def _hangs() -> bool:
    await asyncio.sleep(60)
    return True


async def test_each_part_has_its_state() -> None:
    check = CheckReadiness({"a": _there, "b": _missing, "c": _unseen, "d": _refused, "e": _hangs})
    assert await check() == {
        "a": PartState.OK,
        "b": PartState.MISSING,
        "c": PartState.UNKNOWN,
        "d": PartState.MISSING,
        "e": PartState.MISSING,
    }


async def test_many_askers_look_once_a_second() -> None:
    looks = 0
    now = 10.0

    async def probe() -> bool:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return True

    check = CheckReadiness({"a": probe}, clock=lambda: now)
    await asyncio.gather(*(check() for _ in range(20)))
    assert looks == 1
    now += 1.1
    await check()
    assert looks == 2


async def test_what_is_missing_is_looked_for_again_sooner() -> None:
    answers = iter([False, True])
    now = 10.0

    async def probe() -> bool:
        return next(answers)

    check = CheckReadiness({"a": probe}, clock=lambda: now)
    assert await check() == {"a": PartState.MISSING}
    now += 0.3
    assert await check() == {"a": PartState.OK}

"""A kept run that nobody tells anything of."""

import asyncio

import pytest

from services.api_edge.use_cases.kept_run_in_progress import KeptRunInProgress
from services.api_edge.use_cases.waiting_runs import Inbox
from shared.contracts.runs import RunEnded
from shared.kernel.errors import BusUnavailableError, ProviderTimeoutError
from shared.kernel.ids import new_id

pytestmark = pytest.mark.unit


async def nowhere() -> RunEnded | None:
    return None


async def nobody(_: int) -> None:
    """Whoever has it is not heard."""


def a_silent_run(*, start_s: float, run_s: float) -> KeptRunInProgress:
    now = asyncio.get_running_loop().time()
    return KeptRunInProgress(
        new_id(),
        Inbox(),
        start_limit=now + start_s,
        deadline=now + run_s,
        silence_s=0.005,
        is_late=False,
        look=nowhere,
        attach=nobody,
        not_taken=BusUnavailableError,
        close=lambda: None,
    )


async def test_one_that_has_not_begun_in_time_is_told_as_whoever_follows_it_says() -> None:
    with pytest.raises(BusUnavailableError):
        await a_silent_run(start_s=0.02, run_s=5).next()


async def test_at_its_deadline_it_is_late_whoever_was_heard() -> None:
    with pytest.raises(ProviderTimeoutError):
        await a_silent_run(start_s=5, run_s=0.02).next()

"""What is too long for a message, or for a worker's memory, fails its own run and no other."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import cast

import pytest

from services.inference.adapters.bus import BusAudience
from services.inference.domain.run_end import publishable
from services.inference.ports import Piece
from services.inference.use_cases.answer_memory import AnswerMemory
from services.inference.use_cases.relay import ChunkRelay
from shared.contracts.message import MESSAGE_BYTES_MAX, text_bytes
from shared.contracts.runs import RunChunk, RunEnded
from shared.kernel.errors import BusUnavailableError, InternalError
from shared.kernel.names import Outcome
from shared.runtime.bus import Bus
from tests.fakes.inference import QUICK, USAGE, Worker, a_key, a_request, an_answer, chunks
from tests.fakes.inference_store import InMemoryAttemptStore
from tests.unit.inference.watching import failure
from tests.waiting import until

pytestmark = pytest.mark.unit

SHORT = replace(QUICK, answer_bytes_max=100)
MIB = 1024 * 1024


@pytest.mark.parametrize("text", ["x" * 40, "\\" * 40, '"' * 40, "\n" * 40, "字" * 40, "\x00" * 40])
def test_a_text_is_measured_as_it_travels(text: str) -> None:
    end = _an_end(text)
    bare = len(_an_end("").model_dump_json())
    assert text_bytes(text) == len(end.model_dump_json().encode()) - bare + len('""')


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_that_no_message_can_hold_fails_its_run(*, kept: bool, stream: bool) -> None:
    worker = Worker([a_key()], limits=SHORT)
    worker.provider.scripts["mine"] = [Piece("\\" * 50, 50, USAGE)]

    await worker.run(a_request(kept=kept, stream=stream))

    error = failure(worker).error
    assert (error.code, error.message) == ("provider_error", "the answer is too long")
    assert not any(isinstance(told, RunChunk) for told in worker.audience.told)
    [usage] = worker.usage_log.events
    assert (usage.outcome, usage.tokens.prompt) == (Outcome.FAILED, USAGE["prompt_tokens"])
    assert [end.response for end in worker.usage_log.ends] == [None] * kept


@pytest.mark.parametrize("kept", [False, True])
async def test_all_pieces_of_a_kept_answer_must_fit_into_one_message(*, kept: bool) -> None:
    worker = Worker([a_key()], limits=SHORT)
    worker.provider.scripts["mine"] = chunks("x" * 60, "y" * 60)

    await worker.run(a_request(kept=kept, stream=True))

    assert worker.audience.kinds()[-1] == ("RunFailed" if kept else "RunCompleted")


async def test_a_kept_run_for_which_there_is_no_room_fails_and_leaves_what_it_held() -> None:
    worker = Worker([a_key()], limits=replace(QUICK, answer_memory_bytes_max=100_000))
    worker.provider.scripts["mine"] = chunks("x" * 60_000, "y" * 60_000)
    await worker.run(a_request(kept=True, stream=True))
    assert failure(worker).error.code == "service_unavailable"
    assert failure(worker).error.retry_after_s

    worker.provider.scripts["mine"] = [an_answer()]
    await worker.run(a_request(kept=True))
    assert worker.audience.kinds()[-1] == "RunCompleted"


async def test_one_for_which_there_is_no_room_calls_nobody_and_those_not_kept_go_on() -> None:
    worker = Worker([a_key()], limits=replace(QUICK, answer_memory_bytes_max=100_000))
    worker.provider.scripts["mine"] = [Piece("x" * 60_000, 1, None), 0.2, an_answer()]
    first = asyncio.create_task(worker.run(a_request(kept=True, stream=True)))
    await until(lambda: "RunChunk" in worker.audience.kinds())

    await worker.run(late := a_request(kept=True, stream=True))
    await worker.run(a_request(stream=True))
    await first

    assert len(worker.provider.calls) == 2
    [refused] = [end for end in worker.usage_log.ends if end.run_id == late.run_id]
    assert (refused.error and refused.error.code) == "service_unavailable"
    assert sum(kind == "RunCompleted" for kind in worker.audience.kinds()) == 2


@pytest.mark.parametrize("kept", [False, True])
async def test_a_whole_answer_for_which_there_is_no_room_fails(*, kept: bool) -> None:
    worker = Worker([a_key()], limits=replace(QUICK, answer_memory_bytes_max=100_000))
    worker.provider.scripts["mine"] = [Piece("x" * 110_000, 1, None)]
    report = await worker.run(a_request(kept=kept))
    assert failure(worker).error.code == "service_unavailable"
    assert report is not None
    assert report.ending.error is not None
    assert report.ending.error.__traceback__ is None, "its frames hold the answer"


class SlowBus:
    """Counts who tells something at once."""

    def __init__(self) -> None:
        self.at_once = self.most_at_once = 0

    async def relay(self, *_: object) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1


@pytest.mark.parametrize(("chars", "at_once"), [(1_000, 5), (MIB, 1)])
async def test_what_is_large_is_told_one_at_a_time(chars: int, at_once: int) -> None:
    bus = SlowBus()
    audience = BusAudience(cast("Bus", bus))
    told = RunChunk(run_id=a_request().run_id, seq=0, chunks=("x" * chars,))
    await asyncio.gather(*(audience.tell(told, "reply.api_edge.one") for _ in range(5)))
    assert bus.most_at_once == at_once


def test_a_share_is_given_back() -> None:
    memory = AnswerMemory(10)
    with memory.share() as share, memory.share() as other:
        share.hold(6)
        assert (other.has_room(4), other.has_room(5)) == (True, False)
    assert memory.has_room(10)


async def test_what_waits_for_a_slow_wire_makes_no_longer_message() -> None:
    sent: list[tuple[str, ...]] = []

    async def send(told: tuple[str, ...]) -> None:
        sent.append(told)
        await asyncio.sleep(0.01)

    relay = ChunkRelay(send, linger_s=0.001)
    for number in range(20):
        await relay.put(str(number), MIB // 4)
        await asyncio.sleep(0.001)
    await relay.finish()

    assert [number for told in sent for number in told] == [str(number) for number in range(20)]
    assert max(map(len, sent)) <= 4


def test_an_end_that_no_message_can_hold_is_published_as_a_failure() -> None:
    small = _an_end("x" * 100)
    assert publishable(small) == small
    for end in (_an_end("\\" * (MESSAGE_BYTES_MAX // 2)), _an_end(chunks=("字" * MIB,) * 6)):
        told = publishable(end)
        assert (told.outcome, told.response, told.chunks) == (Outcome.FAILED, None, ())
        assert (told.error and told.error.code) == "provider_error"
        assert (told.run_id, told.usage) == (end.run_id, end.usage)


async def test_a_sweep_publishes_what_no_message_can_hold_as_a_failure() -> None:
    worker = Worker()
    end = _an_end("\\" * MESSAGE_BYTES_MAX)
    worker.store.ends[end.run_id] = end
    await worker.service.sweep()
    [told] = worker.usage_log.ends
    assert (told.run_id, told.outcome) == (end.run_id, Outcome.FAILED)
    assert worker.store.ends == {}


class BrokenEnds(InMemoryAttemptStore):
    async def relay_ends(self, *_: object, **__: object) -> int:
        raise InternalError("a row that cannot be read")


async def test_of_a_sweeps_jobs_each_is_done_whatever_becomes_of_the_others() -> None:
    store = BrokenEnds()
    worker = Worker([a_key()], store=store)
    worker.usage_log.away = BusUnavailableError()
    old = a_request()
    past = old.requested_at - timedelta(minutes=5)
    other = Worker([a_key()], store=store, name="gone", now=lambda: past)
    other.provider.scripts["mine"] = [9.0]
    lost = asyncio.create_task(other.run(old.model_copy(update={"deadline": past + timedelta(seconds=9)})))
    await until(lambda: bool(store.rows))
    lost.cancel()
    await worker.service.heart.beat()
    await asyncio.sleep(QUICK.stale_after_s + 0.05)
    await worker.service.heart.beat()

    with pytest.raises(InternalError):
        await worker.service.sweep()

    [row] = store.rows.values()
    assert row.usage is not None
    assert row.usage.outcome is Outcome.INTERRUPTED


def _an_end(response: str | None = None, chunks: tuple[str, ...] = ()) -> RunEnded:
    request = a_request()
    return RunEnded(
        run_id=request.run_id,
        user_id=request.user_id,
        outcome=Outcome.COMPLETED,
        response=response,
        chunks=chunks,
        ended_at=request.requested_at - timedelta(seconds=60),
    )

"""A kept run's end is written down with its attempt's, published, and forgotten."""

from datetime import timedelta

import pytest

from shared.contracts.runs import RunChunk
from shared.kernel.errors import BusUnavailableError, UserApiKeyInvalidError
from shared.kernel.names import Outcome
from tests.fakes.inference import USAGE, Worker, a_key, a_request, an_answer, chunks
from tests.fakes.inference_store import InMemoryAttemptStore

pytestmark = pytest.mark.unit


async def test_a_plain_answer_is_kept() -> None:
    worker, request = Worker([a_key()]), a_request(kept=True, session_id="s")
    worker.provider.scripts["mine"] = [an_answer()]
    await worker.run(request)
    (end,) = worker.usage_log.ends
    assert (end.run_id, end.outcome, end.response, end.chunks) == (
        request.run_id,
        Outcome.COMPLETED,
        an_answer().text,
        (),
    )
    assert end.usage is not None
    assert end.usage.tokens.prompt == USAGE["prompt_tokens"]
    assert [use.credential_id for use in end.key_uses] == ["mine"]
    assert worker.usage_log.events[0].session_id == "s"


async def test_a_streamed_answer_is_kept_chunk_by_chunk_and_told_with_their_places() -> None:
    worker, request = Worker([a_key()]), a_request(kept=True, stream=True)
    worker.provider.scripts["mine"] = chunks("a", "b", "c")
    await worker.run(request)
    told = [told for told in worker.audience.told if isinstance(told, RunChunk)]
    assert [text for message in told for text in message.chunks] == ["a", "b", "c", "usage"]
    assert [message.index for message in told] == [
        sum(len(before.chunks) for before in told[:place]) for place in range(len(told))
    ]
    assert worker.usage_log.ends[0].chunks == ("a", "b", "c", "usage")


async def test_an_error_is_kept_too() -> None:
    worker, request = Worker([a_key()]), a_request(kept=True)
    worker.provider.scripts["mine"] = [UserApiKeyInvalidError("no")]
    await worker.run(request)
    (end,) = worker.usage_log.ends
    assert (end.outcome, end.error and end.error.code) == (Outcome.FAILED, "user_api_key_invalid")


async def test_of_a_run_that_is_not_kept_no_end_is_told() -> None:
    worker = Worker([a_key()])
    worker.provider.scripts["mine"] = [an_answer()]
    await worker.run(a_request())
    assert worker.usage_log.ends == []
    assert worker.store.ends == {}


async def test_an_end_that_was_published_is_forgotten() -> None:
    worker, request = Worker([a_key()]), a_request(kept=True)
    worker.provider.scripts["mine"] = [an_answer()]
    await worker.run(request)
    assert set(worker.store.ends) == {request.run_id}
    await worker.service.publish.note()
    assert worker.store.ends == {}


async def test_an_end_that_could_not_be_published_is_swept() -> None:
    store = InMemoryAttemptStore()
    worker, request = Worker([a_key()], store=store), a_request(kept=True)
    worker.provider.scripts["mine"] = [an_answer()]
    worker.usage_log.away = BusUnavailableError()
    with pytest.raises(BusUnavailableError):
        await worker.run(request)
    (end,) = store.ends.values()
    store.ends[request.run_id] = end.model_copy(update={"ended_at": end.ended_at - timedelta(seconds=10)})
    other = Worker(store=store, name="worker-2")
    await other.service.sweep()
    assert [told.run_id for told in other.usage_log.ends] == [request.run_id]
    assert store.ends == {}

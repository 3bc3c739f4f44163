"""Inference behind its queues, on in-memory parts: messages as they arrive, and what the log says of them."""

import asyncio
from collections.abc import Iterator

import pytest

from services.inference.use_cases.run import Run
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import Message
from shared.contracts.runs import CancelRun, RunRequested
from shared.kernel.errors import ForbiddenError, InvalidRequestError, UserApiKeyInvalidError
from shared.kernel.ids import new_id
from shared.kernel.names import (
    API_EDGE,
    BILLING,
    INFERENCE,
    KEY_VAULT,
    CredentialStatus,
    KeyService,
    Outcome,
)
from shared.runtime.delivery import Delivery
from tests.envelopes import event_body
from tests.fakes.inference import CANARY, Worker, a_key, a_request, an_answer
from tests.garbage import cyclic_garbage
from tests.logs import Log, logging_as

pytestmark = pytest.mark.component


def arrives(message: Message, sender: str = API_EDGE) -> Delivery:
    return Delivery(body=event_body(message, source=sender), sender=sender)


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_as(INFERENCE) as log:
        yield log


@pytest.fixture
def worker(log: Log) -> Worker:
    made = Worker([a_key()])
    made.provider.scripts["mine"] = [an_answer()]
    return made


async def test_a_request_of_the_edge_is_run_and_logged_in_one_line(worker: Worker, log: Log) -> None:
    request = a_request()

    await worker.service.handlers.on_run_requested(arrives(request))

    assert worker.audience.kinds() == ["RunCompleted"]
    [line] = log.lines
    assert line["event"] == "run ended"
    assert (line["run_id"], line["user_id"]) == (str(request.run_id), "ann")
    assert (line["outcome"], line["code"], line["key_source"], line["service"]) == (
        "completed",
        "ok",
        "user",
        "inference",
    )


@pytest.mark.parametrize("answer", ["whole", "streamed", "none", "no key"])
async def test_nothing_of_a_run_waits_for_the_garbage_collection(log: Log, answer: str) -> None:
    worker = Worker([] if answer == "no key" else [a_key()])
    worker.provider.scripts["mine"] = [UserApiKeyInvalidError() if answer == "none" else an_answer()]
    request = arrives(a_request(stream=answer == "streamed"))
    with cyclic_garbage() as garbage:
        await worker.service.handlers.on_run_requested(request)
    assert not [each for each in garbage if isinstance(each, Run | RunRequested)]


async def test_a_run_that_was_over_is_said_to_be(worker: Worker, log: Log) -> None:
    request = a_request()
    for _ in range(2):
        await worker.service.handlers.on_run_requested(arrives(request))

    assert [line["event"] for line in log.lines] == ["run ended", "run was over before"]


async def test_a_failed_run_is_logged_with_its_code(worker: Worker, log: Log) -> None:
    worker.provider.scripts["mine"] = [UserApiKeyInvalidError()]

    await worker.service.handlers.on_run_requested(arrives(a_request()))

    assert [line["code"] for line in log.lines] == ["user_api_key_invalid"]


@pytest.mark.parametrize("sender", [BILLING, KEY_VAULT, INFERENCE, ""])
async def test_nobody_but_the_edge_may_ask_or_cancel(worker: Worker, sender: str) -> None:
    request = a_request()

    with pytest.raises(ForbiddenError):
        await worker.service.handlers.on_run_requested(arrives(request, sender))
    with pytest.raises(ForbiddenError):
        await worker.service.handlers.on_control(arrives(CancelRun(run_id=request.run_id), sender))

    assert worker.store.rows == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"specversion":"1.0"}',
        f'{{"api_key":"{CANARY}"}}'.encode(),
        event_body(CancelRun(run_id=a_request().run_id), source="api_edge"),
        event_body(a_request(), source="api_edge").replace(b'"body":{', f'"body":"{CANARY}","x":{{'.encode()),
    ],
)
async def test_a_malformed_request_is_refused_without_a_word_of_it(
    worker: Worker, log: Log, body: bytes
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await worker.service.handlers.on_run_requested(Delivery(body=body, sender=API_EDGE))

    assert CANARY not in refused.value.message
    assert CANARY not in log.getvalue()
    assert worker.store.rows == {}


async def test_a_cancel_stops_its_run_and_no_other(worker: Worker) -> None:
    worker.provider.scripts["mine"] = [0.2, an_answer()]
    stopped, other = a_request(), a_request()
    handlers = worker.service.handlers
    running = [asyncio.create_task(handlers.on_run_requested(arrives(run))) for run in (stopped, other)]
    while len(worker.provider.calls) < 2:
        await asyncio.sleep(0.001)

    await handlers.on_control(arrives(CancelRun(run_id=stopped.run_id)))
    await asyncio.gather(*running)

    outcomes = {usage.run_id: usage.outcome for usage in worker.usage_log.events}
    assert outcomes == {stopped.run_id: Outcome.CANCELLED, other.run_id: Outcome.COMPLETED}


async def test_other_control_messages_are_for_others(worker: Worker) -> None:
    await worker.service.handlers.on_control(arrives(a_request()))

    assert worker.store.rows == {}


async def test_a_revoked_key_ends_the_runs_that_use_it_and_no_other(worker: Worker, log: Log) -> None:
    credential_id = new_id()
    worker.resolver.keys = [a_key(str(credential_id))]
    worker.provider.scripts = {str(credential_id): [0.3, an_answer()], "mine": [0.3, an_answer()]}
    handlers = worker.service.handlers
    ended = asyncio.create_task(handlers.on_run_requested(arrives(a_request(stream=True))))
    while len(worker.provider.calls) < 1:
        await asyncio.sleep(0.001)
    worker.resolver.keys = [a_key()]
    request = a_request(stream=True, flow="playground")
    other = asyncio.create_task(handlers.on_run_requested(arrives(request)))
    while len(worker.provider.calls) < 2:
        await asyncio.sleep(0.001)

    await handlers.on_key_event(
        arrives(KeyRevoked(user_id="ann", credential_id=credential_id), sender=KEY_VAULT)
    )
    await asyncio.gather(ended, other)

    outcomes = {usage.credential_id: usage.outcome for usage in worker.usage_log.events}
    assert outcomes == {str(credential_id): Outcome.FAILED, "mine": Outcome.COMPLETED}
    [line] = [line for line in log.lines if line["event"] == "key revoked"]
    assert (line["credential_id"], line["runs_stopped"]) == (str(credential_id), 1)


@pytest.mark.parametrize("sender", [API_EDGE, BILLING, INFERENCE, ""])
async def test_nobody_but_key_vault_may_say_that_a_key_is_revoked(worker: Worker, sender: str) -> None:
    credential_id = new_id()
    worker.resolver.keys = [a_key(str(credential_id))]
    worker.provider.scripts[str(credential_id)] = [an_answer()]

    with pytest.raises(ForbiddenError):
        await worker.service.handlers.on_key_event(
            arrives(KeyRevoked(user_id="ann", credential_id=credential_id), sender)
        )
    await worker.service.handlers.on_run_requested(arrives(a_request()))

    assert worker.audience.kinds()[-1] == "RunCompleted"


async def test_other_key_events_end_nothing(worker: Worker) -> None:
    """A replaced key goes on in the runs that hold it; consent is asked for with the next attempt."""
    credential_id = new_id()
    worker.resolver.keys = [a_key(str(credential_id))]
    worker.provider.scripts[str(credential_id)] = [0.1, an_answer()]
    running = asyncio.create_task(worker.service.handlers.on_run_requested(arrives(a_request())))
    while not worker.provider.calls:
        await asyncio.sleep(0.001)

    for event in (
        KeyStored(
            user_id="ann",
            credential_id=credential_id,
            service=KeyService.OPENAI,
            version=2,
            status=CredentialStatus.INACTIVE,
        ),
        ConsentChanged(
            user_id="ann", consent_id="no-2", allow_platform_fallback=False, allow_gateway_fallback=False
        ),
    ):
        await worker.service.handlers.on_key_event(arrives(event, sender=KEY_VAULT))
    await running

    assert worker.audience.kinds()[-1] == "RunCompleted"


async def test_a_malformed_key_event_is_refused(worker: Worker) -> None:
    body = event_body(KeyRevoked(user_id="ann", credential_id=new_id()), source=KEY_VAULT)

    for broken in (b"", body.replace(b'"credential_id":"', b'"credential_id":"x')):
        with pytest.raises(InvalidRequestError):
            await worker.service.handlers.on_key_event(Delivery(body=broken, sender=KEY_VAULT))


async def test_a_lost_delivery_does_not_end_its_run(worker: Worker) -> None:
    worker.provider.scripts["mine"] = [0.1, an_answer()]
    delivery = arrives(a_request())
    first = asyncio.create_task(worker.service.handlers.on_run_requested(delivery))
    while not worker.provider.calls:
        await asyncio.sleep(0.001)

    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await worker.service.handlers.on_run_requested(delivery)

    assert len(worker.provider.calls) == 1
    assert {usage.outcome for usage in worker.usage_log.events} == {Outcome.COMPLETED}
    assert len({usage.usage_id for usage in worker.usage_log.events}) == 1


async def test_closing_waits_for_runs_whose_deliveries_are_lost(worker: Worker) -> None:
    worker.provider.scripts["mine"] = [0.1, an_answer()]
    lost = asyncio.create_task(worker.service.handlers.on_run_requested(arrives(a_request())))
    while not worker.provider.calls:
        await asyncio.sleep(0.001)
    lost.cancel()

    await asyncio.wait_for(worker.in_flight.wait_for_all(), 2)

    assert len(worker.usage_log.events) == 1

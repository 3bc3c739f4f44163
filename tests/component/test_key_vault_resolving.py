"""key_vault's keys for runs and validations, behind its queues: who may ask, and what usage events do."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from services.key_vault.handlers.usage import UsageHandler
from services.key_vault.use_cases.note_usage import Noted
from shared.contracts.keys import Credentials, ListKeys, SessionKeyIssued
from shared.contracts.message import Message
from shared.contracts.platform_keys import ListPlatformKeys, MendPlatformKey, PlatformKeyInfo, PlatformKeys
from shared.contracts.resolving import KeyOpened, KeyResolved
from shared.contracts.rpc import Request
from shared.contracts.topology import KEY_VAULT_USAGE
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import (
    DatabaseUnavailableError,
    ForbiddenError,
    InvalidRequestError,
    SystemKeyExhaustedError,
    UserApiKeyInvalidError,
)
from shared.kernel.ids import new_id
from shared.kernel.names import (
    API_EDGE,
    BILLING,
    INFERENCE,
    KEY_VAULT,
    CredentialStatus,
    KeyPolicy,
    KeyService,
    KeySource,
    Outcome,
)
from shared.runtime.delivery import Delivery
from tests.envelopes import event_body
from tests.fakes.key_vault_asking import (
    limited,
    open_entered,
    opened,
    platform_id,
    refused,
    session_command,
    session_key,
    session_token,
    used,
)
from tests.fakes.key_vault_desk import Desk
from tests.fakes.key_vault_house import KEY
from tests.logs import Log, logging_as

pytestmark = pytest.mark.component

PLATFORM_KEY = "sk-platform-000001"
CANARY = "canary-without-a-known-shape-7f3a"


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_as(KEY_VAULT) as log:
        yield log


# -- the new requests ---------------------------------------------------------------------------------------


async def test_a_session_from_its_issue_to_a_run(desk: Desk) -> None:
    public_key = desk.house.pair.public_key
    issued = await desk.ask(session_command(public_key), SessionKeyIssued)
    run_id = new_id()
    sent = session_key(public_key, run_id, issued.session_key)
    query = desk.house.worker.asks(run_id=run_id, session_key=sent)
    resolved = await desk.ask(query, KeyResolved, INFERENCE)
    assert (resolved.source, desk.house.worker.opens(resolved, query)) == (KeySource.SESSION, KEY)


async def test_a_session_that_is_not_good_is_refused_by_name(desk: Desk) -> None:
    run_id = new_id()
    token = await session_token(desk.house, user_id="bob")
    sent = session_key(desk.house.pair.public_key, run_id, token)
    with pytest.raises(UserApiKeyInvalidError) as refusal:
        await desk.ask(desk.house.worker.asks(run_id=run_id, session_key=sent), KeyResolved, INFERENCE)
    assert refusal.value.detail == "session_key_of_another_user"


async def test_a_key_is_opened_for_the_worker_that_validates(desk: Desk) -> None:
    query = open_entered(desk.house.pair.public_key, desk.house.worker)
    assert opened(desk.house.worker, await desk.ask(query, KeyOpened, INFERENCE), query) == KEY


async def test_a_platform_key_from_its_failure_to_its_mending(desk: Desk) -> None:
    await desk.house.platform_keys.put(KeyService.OPENROUTER, PLATFORM_KEY)
    await desk.tell(refused(KeyService.OPENROUTER, PLATFORM_KEY))
    query = desk.house.worker.asks(policy=KeyPolicy.PLATFORM_ONLY)
    with pytest.raises(SystemKeyExhaustedError) as refusal:
        await desk.ask(query, KeyResolved, INFERENCE)
    assert refusal.value.detail == "OPENROUTER_SYSTEM_KEY_EXHAUSTED"
    (item,) = (await desk.ask(ListPlatformKeys(), PlatformKeys)).items
    assert (item.state, item.reason) == ("out", "system_key_exhausted")
    mend = MendPlatformKey(credential_id=item.credential_id)
    assert (await desk.ask(mend, PlatformKeyInfo)).state == "ready"
    assert (await desk.ask(query, KeyResolved, INFERENCE)).credential_id == item.credential_id
    unknown = MendPlatformKey(credential_id="platform:openai:000000000000")
    assert await desk.code(unknown, API_EDGE) == "not_found"


def _requests(desk: Desk) -> dict[str, Sequence[Request]]:
    """Return the requests by who alone may send them."""
    public_key, worker = desk.house.pair.public_key, desk.house.worker
    edge = (session_command(public_key), ListPlatformKeys(), MendPlatformKey(credential_id="x"))
    return {API_EDGE: edge, INFERENCE: (open_entered(public_key, worker), worker.asks())}


@pytest.mark.parametrize("sender", ["", API_EDGE, INFERENCE, BILLING, KEY_VAULT, "admin", "inference "])
async def test_only_their_callers_are_heard(desk: Desk, sender: str) -> None:
    for caller, requests in _requests(desk).items():
        if caller == sender:
            continue
        for request in requests:
            assert await desk.code(request, sender) == "forbidden"
    house = desk.house
    calls = (house.store.calls, house.sessions.calls, house.platform_keys.calls, house.marks.calls)
    assert calls == (0, 0, 0, 0)


@pytest.mark.parametrize("user_id", ["", "nul\x00", "x" * 129])
async def test_no_key_for_what_is_no_user(desk: Desk, user_id: str) -> None:
    for request in (
        session_command(desk.house.pair.public_key),
        open_entered(desk.house.pair.public_key, desk.house.worker),
    ):
        changed = request.model_copy(update={"user_id": user_id})
        sender = INFERENCE if "open" in request.ROUTING_KEY else API_EDGE
        assert await desk.code(changed, sender) == "invalid_request"


# -- usage events -------------------------------------------------------------------------------------------


async def _status(desk: Desk) -> CredentialStatus:
    (item,) = (await desk.ask(ListKeys(user_id="ada"), Credentials)).items
    return item.status


async def _own_use(desk: Desk, **fields: Any) -> UsageRecorded:
    kept = await desk.house.keep()
    return used(credential_id=str(kept.id), credential_version=1, **fields)


async def test_a_users_key_is_marked_by_what_its_provider_says(desk: Desk) -> None:
    await desk.tell(await _own_use(desk, outcome=Outcome.FAILED, error_code="user_api_key_invalid"))
    assert await _status(desk) is CredentialStatus.INVALID


@pytest.mark.parametrize("sender", ["", API_EDGE, BILLING, KEY_VAULT, "Inference"])
async def test_only_the_workers_word_counts(desk: Desk, sender: str) -> None:
    event = await _own_use(desk, outcome=Outcome.FAILED, error_code="user_api_key_invalid")
    with pytest.raises(ForbiddenError):
        await desk.tell(event, sender)
    with pytest.raises(ForbiddenError):
        await desk.tell(refused(KeyService.OPENAI, PLATFORM_KEY), sender)
    assert await _status(desk) is CredentialStatus.ACTIVE
    assert await desk.house.marks.marks() == ()


async def test_what_is_no_usage_event_goes_to_the_dead_letters(desk: Desk) -> None:
    with pytest.raises(InvalidRequestError):
        await desk.tell(ListPlatformKeys())


async def test_many_events_are_noted_in_few_statements(desk: Desk) -> None:
    kept = await desk.house.keep()
    desk.house.store.calls = 0
    events = [used(credential_id=str(kept.id), credential_version=1) for _ in range(200)]
    verdicts = await desk.bus.hand_in(KEY_VAULT_USAGE, *map(_delivery, events))
    assert verdicts == [None] * 200
    assert 0 < desk.house.store.calls <= 5


async def test_only_what_failed_is_noted_at_once(desk: Desk) -> None:
    """The next run is not to be given a platform key that has just failed."""
    is_urgent = desk.bus.urgencies[KEY_VAULT_USAGE]
    failed = refused(KeyService.OPENAI, PLATFORM_KEY)
    assert [is_urgent(_delivery(event)) for event in (failed, used())] == [True, False]
    assert not is_urgent(Delivery(b"{", INFERENCE))


async def test_usage_waits_for_a_database_that_is_away(desk: Desk, log: Log) -> None:
    """Given back ten times, an event would be a dead letter."""
    desk.house.marks.fails = DatabaseUnavailableError()
    telling = asyncio.create_task(desk.tell(refused(KeyService.OPENAI, PLATFORM_KEY)))
    await asyncio.sleep(0.1)
    assert not telling.done()
    desk.house.marks.fails = None
    await asyncio.wait_for(telling, 5)
    (mark,) = await desk.house.marks.marks()
    assert mark.credential_id == platform_id(KeyService.OPENAI, PLATFORM_KEY)
    assert "usage waits for the database" in log.getvalue()


async def test_an_event_that_cannot_be_noted_stands_in_no_others_way() -> None:
    """Whatever a store trips over, the rest of the batch is noted, and that one comes back."""
    bad = new_id()
    noted: list[UsageRecorded] = []

    async def note(events: Sequence[UsageRecorded]) -> Noted:
        if any(event.usage_id == bad for event in events):
            raise RuntimeError
        noted.extend(events)
        return Noted((), ())

    handler = UsageHandler(note, retry_s=0.01)
    events = [used() for _ in range(9)] + [used(usage_id=bad)] + [used() for _ in range(6)]
    verdicts = await handler.on_batch([_delivery(event) for event in events])
    assert [type(verdict) for verdict in verdicts] == [type(None)] * 9 + [RuntimeError] + [type(None)] * 6
    assert len(noted) == 15


def _delivery(event: Message) -> Delivery:
    return Delivery(event_body(event, source=INFERENCE), INFERENCE)


# -- what is logged -----------------------------------------------------------------------------------------


async def test_what_was_done_is_logged_by_id(desk: Desk, log: Log) -> None:
    await desk.house.platform_keys.put(KeyService.OPENAI, PLATFORM_KEY, "sk-platform-000002")
    await desk.tell(limited(KeyService.OPENAI, PLATFORM_KEY, 30))
    mend = MendPlatformKey(credential_id=platform_id(KeyService.OPENAI, PLATFORM_KEY))
    await desk.ask(mend, PlatformKeyInfo)
    await desk.ask(session_command(desk.house.pair.public_key), SessionKeyIssued)
    await desk.ask(open_entered(desk.house.pair.public_key, desk.house.worker), KeyOpened, INFERENCE)
    await desk.ask(
        desk.house.worker.asks(policy=KeyPolicy.USER_KEY_REQUIRED, report_only=True), KeyResolved, INFERENCE
    )
    lines = {line["event"]: line for line in log.lines}
    failed = lines["platform key failed"]
    assert (failed["state"], failed["code"]) == ("cooling", "provider_rate_limited")
    assert failed["credential_id"] == lines["platform key mended"]["credential_id"]
    assert lines["session key issued"]["user_id"] == "ada"
    assert lines["key opened to be validated"]["key_service"] == "openai"
    assert lines["key resolved"]["would_refuse_policy"] == "user_key_required"
    assert KEY not in log.getvalue()
    assert "lks_" not in log.getvalue()


async def test_a_key_in_hand_is_masked_in_what_is_logged(desk: Desk, log: Log) -> None:
    """Even when a part fails with the key in its message, as a careless library would."""
    desk.house.sessions.fails = RuntimeError(f"cannot encrypt {CANARY}")
    answer = await desk.hand_in(session_command(desk.house.pair.public_key, CANARY), API_EDGE)
    assert answer.error is not None
    assert answer.error.code == "internal_error"
    assert CANARY not in answer.model_dump_json() + log.getvalue()
    assert "failed with a key in hand" in log.getvalue()

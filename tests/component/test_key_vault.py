"""key_vault behind its queue, on in-memory parts: messages as they arrive, from whom they may come."""

import json
from collections.abc import Iterator

import pytest

from shared.contracts.consent import ChangeUserSettings, GetUserSettings
from shared.contracts.keys import (
    Credential,
    Credentials,
    GetKeyStatus,
    KeysRevoked,
    ListKeys,
    RevokeKey,
    RevokeKeys,
    RewrapKeys,
    StoreKey,
    UpdateKey,
)
from shared.contracts.resolving import KeyResolved, ResolveKey
from shared.contracts.rpc import Request
from shared.kernel.errors import VaultUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, KeyPolicy, KeyService
from tests.envelopes import enveloped, event_body
from tests.fakes.key_vault_desk import Desk
from tests.fakes.key_vault_house import KEY, replace_command, request_key, store_command
from tests.logs import Log, logging_as

pytestmark = pytest.mark.component


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_as(KEY_VAULT) as log:
        yield log


async def test_the_life_of_a_key(desk: Desk) -> None:
    command = store_command(desk.house.pair.public_key)
    kept = Credential.model_validate((await desk.hand_in(command, API_EDGE)).result)
    listed = await desk.hand_in(ListKeys(user_id="ada"), API_EDGE)
    assert Credentials.model_validate(listed.result).items == (kept,)

    query = desk.house.worker.asks()
    resolved = KeyResolved.model_validate((await desk.hand_in(query, INFERENCE)).result)
    assert desk.house.worker.opens(resolved, query) == KEY

    revoke = RevokeKey(user_id="ada", credential_id=kept.id)
    revoked = KeysRevoked.model_validate((await desk.hand_in(revoke, API_EDGE)).result)
    assert revoked.credential_ids == (kept.id,)
    assert await desk.code(revoke, API_EDGE) == "not_found"


def _edge_requests(desk: Desk) -> list[Request]:
    return [
        store_command(desk.house.pair.public_key),
        replace_command(desk.house.pair.public_key, new_id()),
        UpdateKey(user_id="ada", credential_id=new_id(), label="x"),
        ListKeys(user_id="ada"),
        RevokeKey(user_id="ada", credential_id=new_id()),
        RevokeKeys(user_id="ada"),
        GetUserSettings(user_id="ada"),
        ChangeUserSettings(user_id="ada", allow_gateway_fallback=True),
        GetKeyStatus(user_id="ada"),
        RewrapKeys(),
    ]


@pytest.mark.parametrize("sender", ["", INFERENCE, BILLING, KEY_VAULT, "admin", "analyst", "api_edge "])
async def test_only_the_edge_handles_a_users_keys(desk: Desk, sender: str) -> None:
    for request in _edge_requests(desk):
        assert await desk.code(request, sender) == "forbidden"
    house = desk.house
    assert (house.store.calls, house.store.consents.calls, house.cipher.calls) == (0, 0, 0)


@pytest.mark.parametrize("sender", ["", API_EDGE, BILLING, KEY_VAULT, "admin", "analyst", "Inference"])
async def test_only_a_worker_gets_a_key(desk: Desk, sender: str) -> None:
    """HPKE does not say who sealed, or whose the worker's public key is: the broker's word must."""
    await desk.house.keep()
    desk.house.store.calls = desk.house.cipher.calls = 0
    assert await desk.code(desk.house.worker.asks(), sender) == "forbidden"
    assert (desk.house.store.calls, desk.house.cipher.calls) == (0, 0)


async def test_the_source_a_message_claims_counts_for_nothing(desk: Desk) -> None:
    await desk.house.keep()
    claimed = event_body(desk.house.worker.asks(), source=INFERENCE)
    answer = await desk.deliver(claimed, BILLING)
    assert answer.error is not None
    assert answer.error.code == "forbidden"


async def test_refusals_are_typed_and_name_the_service(desk: Desk) -> None:
    query = desk.house.worker.asks(policy=KeyPolicy.USER_KEY_REQUIRED)
    answer = await desk.hand_in(query, INFERENCE)
    assert answer.error is not None
    assert (answer.error.code, answer.error.service) == ("user_api_key_required", KeyService.OPENAI)
    await desk.house.store.consents.decide("ada", allow_platform=False, allow_gateway=None)
    assert await desk.code(desk.house.worker.asks(), INFERENCE) == "consent_required"
    platform_only = desk.house.worker.asks(policy=KeyPolicy.PLATFORM_ONLY)
    assert await desk.code(platform_only, INFERENCE) == "system_key_exhausted"
    desk.house.platform_keys.fails = VaultUnavailableError(service="vault", retry_after_s=2)
    answer = await desk.hand_in(platform_only, INFERENCE)
    assert answer.error is not None
    assert (answer.error.code, answer.error.retry_after_s) == ("vault_unavailable", 2)


async def test_sealed_keys_for_somebody_else_are_refused(desk: Desk) -> None:
    public_key = desk.house.pair.public_key
    theirs = store_command(public_key, user_id="bob").model_copy(update={"user_id": "ada"})
    assert await desk.code(theirs, API_EDGE) == "invalid_request"
    broken = store_command(public_key).model_copy(update={"sealed": desk.house.sealed_nonsense()})
    assert await desk.code(broken, API_EDGE) == "invalid_request"
    other_run = desk.house.worker.asks(request_key=request_key(public_key, new_id()))
    assert await desk.code(other_run, INFERENCE) == "invalid_request"
    run_id = new_id()
    other_user = request_key(public_key, run_id, user_id="bob")
    query = desk.house.worker.asks(run_id=run_id, request_key=other_user)
    assert await desk.code(query, INFERENCE) == "invalid_request"


def _canary_in(envelope: dict[str, object], canary: str) -> list[bytes]:
    """The same message, with the key where it does not belong."""
    plain = {**envelope, "data": {"user_id": "ada", "api_key": canary, "sealed": canary}}
    return [
        json.dumps(plain).encode(),
        json.dumps({**envelope, "data": canary}).encode(),
        json.dumps({**envelope, "type": f"latchkey.{canary}"}).encode(),
        f'{{"api_key": "{canary}"'.encode(),
        canary.encode(),
        b"\xff\xfe" + canary.encode(),
        b"",
    ]


async def test_malformed_messages_are_answered_and_never_echoed(desk: Desk, log: Log) -> None:
    canary = "canary-without-a-known-shape-7f3a"
    envelope = enveloped(ListKeys(user_id="ada"), source=API_EDGE).model_dump(mode="json")
    for kind in (StoreKey, ListKeys, ResolveKey):
        for body in _canary_in({**envelope, "type": kind.event_type()}, canary):
            answer = await desk.deliver(body, INFERENCE if kind is ResolveKey else API_EDGE)
            assert canary not in answer.model_dump_json()
            if kind is not ListKeys:
                assert answer.error is not None
                assert answer.error.code == "invalid_request"
    assert canary not in log.getvalue()


async def test_a_key_in_use_is_masked_in_what_is_logged(desk: Desk, log: Log) -> None:
    """Even when a part fails with the key in its message, as a careless library would."""
    canary = "canary-without-a-known-shape-7f3a"
    desk.house.cipher.fails = RuntimeError(f"cannot encrypt {canary}")
    command = store_command(desk.house.pair.public_key, canary)
    answer = await desk.hand_in(command, API_EDGE)
    assert answer.error is not None
    assert answer.error.code == "internal_error"
    logged = log.getvalue()
    assert canary not in answer.model_dump_json() + logged
    assert "failed with a key in hand" in logged

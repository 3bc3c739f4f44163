"""A key that is to be validated is handed to the worker that asks, and only so."""

from typing import Any

import pytest

from shared.contracts.keys import UpdateKey
from shared.contracts.resolving import OpenKey
from shared.kernel.errors import InvalidRequestError, NotFoundError, VaultUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import CredentialStatus, KeyService
from tests.fakes.key_vault_asking import open_entered, open_stored, opened, sealed_for
from tests.fakes.key_vault_house import GATEWAY_URL, KEY, House, Worker, soon

pytestmark = pytest.mark.unit


async def test_a_key_just_entered_is_opened_for_the_worker(house: House) -> None:
    query = open_entered(house.pair.public_key, house.worker)
    answer = await house.handlers.on_open_key(query)
    assert opened(house.worker, answer, query) == KEY
    assert answer.sealed.expires_at <= soon(30)
    assert KEY not in answer.model_dump_json()
    assert (house.store.calls, house.cipher.calls) == (0, 0)


async def test_a_gateways_key_comes_with_its_address(house: House) -> None:
    query = open_entered(
        house.pair.public_key, house.worker, service=KeyService.GATEWAY, base_url=GATEWAY_URL
    )
    answer = await house.handlers.on_open_key(query)
    assert (answer.service, answer.base_url) == (KeyService.GATEWAY, GATEWAY_URL)
    assert opened(house.worker, answer, query) == KEY


async def test_a_stored_key_is_opened_at_its_own_address(house: House) -> None:
    kept = await house.keep(service=KeyService.GATEWAY, base_url=GATEWAY_URL)
    query = open_stored(kept.id, house.worker, service=KeyService.GATEWAY, base_url="https://evil.example")
    answer = await house.handlers.on_open_key(query)
    assert answer.base_url == GATEWAY_URL
    assert opened(house.worker, answer, query) == KEY


async def test_an_inactive_key_can_still_be_validated(house: House) -> None:
    kept = await house.keep()
    switched_off = UpdateKey(user_id="ada", credential_id=kept.id, status=CredentialStatus.INACTIVE)
    await house.handlers.on_update_key(switched_off)
    query = open_stored(kept.id, house.worker)
    assert opened(house.worker, await house.handlers.on_open_key(query), query) == KEY


@pytest.mark.parametrize("changed", [{"user_id": "eve"}, {"credential_id": new_id()}, {"service": "groq"}])
async def test_no_key_of_anybody_or_anything_else(house: House, changed: dict[str, Any]) -> None:
    kept = await house.keep()
    query = open_stored(kept.id, house.worker)
    with pytest.raises(NotFoundError):
        await house.handlers.on_open_key(OpenKey(**{**query.model_dump(), **changed}))


@pytest.mark.parametrize(
    "instead",
    [
        {"run_id": new_id()},
        {"user_id": "eve"},
        {"service": KeyService.GROQ},
        {"base_url": "https://evil.example"},
        {"purpose": "resolve"},
        {"attempt": 1},
    ],
)
async def test_an_answer_opens_for_nothing_else(house: House, instead: dict[str, Any]) -> None:
    query = open_entered(house.pair.public_key, house.worker)
    answer = await house.handlers.on_open_key(query)
    with pytest.raises(InvalidRequestError):
        opened(house.worker, answer, query, **instead)
    with pytest.raises(InvalidRequestError):
        opened(Worker(), answer, query)


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "eve"},
        {"validation_id": new_id()},
        {"service": KeyService.GROQ},
        {"base_url": "https://evil.example"},
        {"sealed": None},
        {"worker_public_key": "AAAA"},
    ],
)
async def test_a_changed_question_is_refused(house: House, changed: dict[str, Any]) -> None:
    query = open_entered(house.pair.public_key, house.worker).model_copy(update=changed)
    with pytest.raises(InvalidRequestError):
        await house.handlers.on_open_key(query)


@pytest.mark.parametrize("purpose", ["store", "request", "session"])
async def test_a_key_sealed_for_something_else_is_not_opened(house: House, purpose: str) -> None:
    """Whoever can ask for validations gets no other key out of a message that passed by."""
    query = open_entered(house.pair.public_key, house.worker)
    sealed = sealed_for(house.pair.public_key, KEY, purpose=purpose, run_id=query.validation_id)
    with pytest.raises(InvalidRequestError):
        await house.handlers.on_open_key(query.model_copy(update={"sealed": sealed}))


async def test_nonsense_is_refused_without_an_echo(house: House) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await house.handlers.on_open_key(open_entered(house.pair.public_key, house.worker, "sk-\r\nEvil: 1"))
    assert "Evil" not in str(refused.value)


async def test_without_the_cipher_nothing_is_said_of_the_key(house: House) -> None:
    kept = await house.keep()
    house.cipher.fails = VaultUnavailableError()
    with pytest.raises(VaultUnavailableError):
        await house.handlers.on_open_key(open_stored(kept.id, house.worker))

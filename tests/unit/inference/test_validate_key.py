"""Validating a key: one answer, in time."""

import asyncio

import pytest

from services.inference.ports import OpenedKey
from services.inference.use_cases.validate_key import ValidateKeyUseCase
from shared.contracts.models import ListModels
from shared.contracts.validation import ValidateKey
from shared.kernel.errors import InvalidRequestError, NotFoundError, ServiceUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService, KeyVerdict
from shared.kernel.secret import SecretText
from tests.fakes.inference import InMemoryKeyChecker, InMemoryKeyOpener, Worker

pytestmark = pytest.mark.unit


def an_ask(user_id: str = "ann") -> ValidateKey:
    return ValidateKey(validation_id=new_id(), user_id=user_id, service=KeyService.GATEWAY)


@pytest.mark.parametrize("verdict", list(KeyVerdict))
async def test_the_providers_verdict_is_told(verdict: KeyVerdict) -> None:
    key = OpenedKey(KeyService.GATEWAY, SecretText("k"), "https://llm.example.com/v1")
    opener, checker = InMemoryKeyOpener(key), InMemoryKeyChecker(verdict)
    ask = an_ask()

    answer = await ValidateKeyUseCase(opener=opener, checker=checker)(ask)

    assert answer.verdict is verdict
    assert opener.asked == [ask]
    assert [asked for asked, _ in checker.asked] == [key]


async def test_what_opening_took_is_not_there_for_asking() -> None:
    opener, checker = InMemoryKeyOpener(delay_s=0.2), InMemoryKeyChecker()

    await ValidateKeyUseCase(opener=opener, checker=checker, patience_s=1)(an_ask())

    [(_, left_s)] = checker.asked
    assert left_s <= 0.8


async def test_a_key_that_is_not_there_is_asked_of_nobody() -> None:
    opener, checker = InMemoryKeyOpener(refusal=NotFoundError()), InMemoryKeyChecker()

    with pytest.raises(NotFoundError):
        await ValidateKeyUseCase(opener=opener, checker=checker)(an_ask())
    assert checker.asked == []


async def test_a_forbidden_address_is_an_invalid_request() -> None:
    checker = InMemoryKeyChecker(refusal=InvalidRequestError())

    with pytest.raises(InvalidRequestError):
        await ValidateKeyUseCase(opener=InMemoryKeyOpener(), checker=checker)(an_ask())


async def test_one_users_keys_keep_nobody_elses_waiting() -> None:
    opener, checker = InMemoryKeyOpener(delay_s=0.2), InMemoryKeyChecker()
    validate = ValidateKeyUseCase(opener=opener, checker=checker, at_once_max=3)

    async with asyncio.TaskGroup() as group:
        hanging = [group.create_task(validate(an_ask())) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(ServiceUnavailableError) as refused:
            await validate(an_ask())
        others = group.create_task(validate(an_ask("bob")))

    assert refused.value.retry_after_s == 1
    assert all(task.result().verdict is KeyVerdict.VALID for task in (*hanging, others))
    await validate(an_ask())


def test_only_the_edge_may_ask() -> None:
    routes = Worker().service.requests.routes()

    assert {route.request: route.callers for route in routes} == {
        ValidateKey: ("api_edge",),
        ListModels: ("api_edge",),
    }

"""What usage events say of keys: which count, and for whom."""

from datetime import timedelta
from typing import Any

import pytest

from services.key_vault.domain.usage import mark_of, use_of
from shared.contracts.keys import Credential, ListKeys
from shared.kernel.ids import new_id
from shared.kernel.names import CredentialStatus, KeyService, KeySource, Outcome, PlatformKeyState
from tests.fakes.key_vault_asking import limited, refused, used
from tests.fakes.key_vault_house import House, soon

pytestmark = pytest.mark.unit


async def _only(house: House) -> Credential:
    (credential,) = (await house.handlers.on_list_keys(ListKeys(user_id="ada"))).items
    return credential


def _of(kept: Credential, **fields: Any) -> dict[str, Any]:
    return {"credential_id": str(kept.id), "credential_version": kept.version, **fields}


async def test_a_success_is_a_use(house: House) -> None:
    kept = await house.keep()
    at = soon(0)
    await house.note_usage([used(**_of(kept, finished_at=at))])
    assert (await _only(house)).last_used_at == at


@pytest.mark.parametrize(
    ("code", "detail", "status"),
    [
        ("user_api_key_invalid", None, CredentialStatus.INVALID),
        ("user_api_key_invalid", "key_expired", CredentialStatus.EXPIRED),
        ("user_api_key_exhausted", None, CredentialStatus.NO_QUOTA),
    ],
)
async def test_a_refusal_marks_the_key_and_a_success_clears_it(
    house: House, code: str, detail: str | None, status: CredentialStatus
) -> None:
    kept = await house.keep()
    why = {"outcome": Outcome.FAILED, "error_code": code, "error_detail": detail}
    failed = used(**_of(kept, finished_at=soon(0), **why))
    await house.note_usage([failed])
    assert ((await _only(house)).status, (await _only(house)).last_used_at) == (status, None)
    assert (await house.resolve())[0].credential_id == str(kept.id), "a mark does not change the order"
    await house.note_usage([used(**_of(kept, finished_at=soon(1)))])
    assert (await _only(house)).status is CredentialStatus.ACTIVE


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": Outcome.CANCELLED},
        {"outcome": Outcome.INTERRUPTED},
        {"outcome": Outcome.REFUSED},
        {"outcome": Outcome.FAILED, "error_code": "provider_error"},
        {"outcome": Outcome.FAILED, "error_code": "provider_rate_limited"},
        {"outcome": Outcome.FAILED, "error_code": None},
        {"outcome": Outcome.CANCELLED, "error_code": "user_api_key_invalid"},
        {"credential_version": None},
        {"credential_version": 0},
        {"credential_version": 2**31},
        {"credential_id": None},
        {"credential_id": "request"},
        {"key_source": None},
        {"key_source": KeySource.REQUEST},
        {"key_source": KeySource.SESSION},
        {"key_source": KeySource.PLATFORM},
    ],
)
def test_what_says_nothing_of_a_stored_key(fields: dict[str, Any]) -> None:
    said = {"credential_id": str(new_id()), "credential_version": 1}
    assert use_of(used(**said)) is not None
    assert use_of(used(**{**said, **fields})) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"outcome": Outcome.COMPLETED},
        {"outcome": Outcome.CANCELLED},
        {"error_code": "provider_error"},
        {"error_code": "provider_timeout"},
        {"error_code": "invalid_request"},
        {"error_code": None},
        {"credential_id": None},
        {"credential_id": "platform:openai:x"},
        {"credential_id": "platform:openai:371430a7b5bc\n"},
        {"credential_id": str(new_id())},
        {"key_source": KeySource.USER},
    ],
)
def test_what_says_nothing_of_a_platform_key(fields: dict[str, Any]) -> None:
    assert mark_of(refused(KeyService.OPENAI, "sk-1")) is not None
    assert mark_of(refused(KeyService.OPENAI, "sk-1", **fields)) is None


def test_a_platform_key_with_a_time_to_rest_is_not_out() -> None:
    for seconds, state in ((None, PlatformKeyState.OUT), (60.0, PlatformKeyState.COOLING)):
        event = refused(KeyService.OPENAI, "sk-1", retry_after_s=seconds)
        mark = mark_of(event)
        assert mark is not None
        assert (mark.state, mark.reason) == (state, "system_key_exhausted")
        assert mark.until == (event.finished_at + timedelta(seconds=seconds) if seconds else None)


def test_a_users_trouble_is_never_the_platforms() -> None:
    for event in (refused(KeyService.OPENAI, "sk-1"), limited(KeyService.GATEWAY, "gw-1", 3)):
        assert use_of(event) is None
    failed = used(outcome=Outcome.FAILED, error_code="user_api_key_invalid", credential_id=str(new_id()))
    assert mark_of(failed) is None


async def test_events_that_say_nothing_cost_no_query(house: House) -> None:
    await house.note_usage([used(key_source=KeySource.REQUEST, credential_id="request")])
    assert (house.store.calls, house.marks.calls) == (0, 0)

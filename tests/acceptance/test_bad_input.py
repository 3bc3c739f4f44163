"""Bad input gets the errors of the contract: never a 500, never an echoed key, and nothing is left of it."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from tests.acceptance.bad_inputs.case import MODEL, Case
from tests.acceptance.bad_inputs.catalogue import BAD_INPUTS
from tests.acceptance.bad_inputs.sending import Answer
from tests.acceptance.bad_inputs.stand import SONG, Stand, make_stand, over
from tests.acceptance.callers import error_of
from tests.acceptance.house import House
from tests.loopback import http_client

pytestmark = pytest.mark.acceptance

CASES_MIN: Final = 300
_PIECE: Final = 8
_AT_ONCE: Final = 8
_FAULT_CHARS: Final = 500
_MEMBERS: Final = {"message", "code", "param", "service", "run_id"}
_ALL: Final = [(kind, case) for kind, cases in BAD_INPUTS.items() for case in cases]
_HEADERS: Final = {401: "www-authenticate", 405: "allow"}


@pytest_asyncio.fixture(scope="module")
async def stand(_house: House) -> AsyncIterator[Stand]:
    await _house.restore()
    made = await make_stand(_house)
    yield made
    assert [name for name, log in _house.logs().items() if SONG in log] == []


@pytest.mark.parametrize("kind", BAD_INPUTS)
async def test_bad_input(stand: Stand, kind: str) -> None:
    """Each gets its refusal; after all of a kind the house is as it was before."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def fault(case: Case) -> str | None:
        async with turns:
            return await _fault(stand, case)

    faults = await asyncio.gather(*(fault(case) for case in BAD_INPUTS[kind]))
    wrong = {case.name: fault for case, fault in zip(BAD_INPUTS[kind], faults, strict=True) if fault}
    assert wrong == {}
    await stand.check_whole()


async def _fault(stand: Stand, case: Case) -> str | None:
    """Say what is wrong with the answer to a case."""
    try:
        answer, canary = await stand.send(case)
        _check(case, answer, canary)
    except (AssertionError, OSError, TimeoutError, ValueError, LookupError) as error:
        return f"{error!r}"[:_FAULT_CHARS]
    return None


def _check(case: Case, answer: Answer, canary: str) -> None:
    error = _error(case, answer)
    assert (answer.status, error.get("code")) == (case.status, case.code), answer.text
    assert error.keys() >= _MEMBERS
    assert error["message"].strip()
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert _HEADERS.get(answer.status, "content-type") in answer.headers
    secret = canary.removeprefix(SONG)
    assert not any(secret[at : at + _PIECE] in answer.text for at in range(len(secret) - _PIECE + 1))


def _error(case: Case, answer: Answer) -> dict[str, Any]:
    """The error as the surface tells it that was asked."""
    told: dict[str, Any] = answer.json
    if case.path.startswith("/v1/") or (case.raw or b"").startswith(b"POST /v1/"):
        assert answer.headers["content-type"] == "application/json"
        error: dict[str, Any] = told["error"]
        assert error["type"]
        return error
    assert answer.headers["content-type"] == "application/problem+json"
    assert (told["type"], told["status"]) == (f"urn:latchkey:problem:{told['code']}", answer.status)
    assert told["title"]
    return told


def test_there_are_enough_and_no_two_are_the_same() -> None:
    names = Counter((kind, case.name) for kind, case in _ALL)
    sent = Counter((case.call, case.body, case.headers, case.raw, case.who) for _, case in _ALL)
    assert [name for name, count in names.items() if count > 1] == []
    assert [call for call, count in sent.items() if count > 1] == []
    assert len(_ALL) >= CASES_MIN
    assert {case.status // 100 for _, case in _ALL} == {4}


async def test_every_operation_that_takes_input_gets_bad_ones(stand: Stand) -> None:
    async with http_client(base_url=stand.house.url) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    asked = {(case.call.partition(" ")[0].lower(), case.path) for _, case in _ALL}
    untouched = [
        f"{method} {path}"
        for path, operations in paths.items()
        for method, operation in operations.items()
        if _takes_input(operation) and not any(method == m and _fits(path, p) for m, p in asked)
    ]
    assert untouched == []


async def test_odd_text_is_no_bad_input(stand: Stand) -> None:
    body = {"messages": [{"role": "user", "content": "a\0b \u202e \ufffe \U0001f600 \r\n\x1b[31m"}]}
    for path, more in (("/api/runs", {}), ("/api/councils", {"members": [MODEL]})):
        answer = await stand.user.http.post(path, json={**body, **more})
        await over(stand.user, answer.raise_for_status().headers["location"])


async def test_a_model_that_nobody_knows_is_left_to_the_provider_of_ones_own_key(stand: Stand) -> None:
    refused = await stand.user.ask("hello", model="openai/no-such-model")
    assert error_of(refused) == (404, "model_not_found")


def _takes_input(operation: dict[str, Any]) -> bool:
    return bool(operation.get("parameters") or operation.get("requestBody"))


def _fits(template: str, path: str) -> bool:
    pattern = re.sub(r"\\\{\w+\\\}", ".+", re.escape(template))
    return re.fullmatch(pattern, path) is not None

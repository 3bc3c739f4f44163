"""Bad input gets the errors of the contract: never a 5xx, never an echoed key, and nothing stays of it."""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from tests.acceptance.bad_inputs import identifiers, tokens
from tests.acceptance.bad_inputs.case import CANARY, BadInput
from tests.acceptance.bad_inputs.catalogue import ALL, KINDS
from tests.acceptance.bad_inputs.sending import Sender, sender_to
from tests.acceptance.callers import error_of
from tests.acceptance.house import House

pytestmark = pytest.mark.acceptance

_LEFT: Final = """
    SELECT (SELECT count(*) FROM inference.attempts WHERE user_id = any($1) AND outcome IS NULL)
         + (SELECT count(*) FROM billing.holds WHERE user_id = any($1) AND state = 'held')
         + (SELECT count(*) - 1 FROM key_vault.credentials WHERE user_id = any($1)) AS left
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def sender(_house: House) -> AsyncIterator[Sender]:
    await _house.restore()
    async with sender_to(_house) as sender:
        yield sender


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
async def test_it_is_refused(sender: Sender, case: BadInput) -> None:
    if case.after is not None:
        (await sender.send(case.after)).raise_for_status()
    answer = await sender.send(case)
    assert answer.status_code == case.status, answer.text
    assert CANARY not in answer.text
    if answer.content:
        assert error_of(answer) == (case.status, case.code)


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in identifiers.ROUTES])
async def test_what_is_anothers_is_unknown(sender: Sender, method: str, path: str) -> None:
    mine = await sender.ids_of_user()
    for found in mine:
        answer = await sender.send(BadInput("foreign", method, path.format(found), 404, who="admin"))
        assert error_of(answer) == (404, "not_found"), answer.text


@pytest.mark.parametrize("name", tokens.FORGED)
async def test_a_forged_token_is_refused(sender: Sender, name: str) -> None:
    answer = await sender.forged(tokens.FORGED[name])
    assert error_of(answer) == (401, "unauthenticated"), answer.text


async def test_a_model_without_a_price_is_refused_on_credits_and_left_to_the_provider_otherwise(
    sender: Sender,
) -> None:
    caller, model = await sender.house.caller(), "openai/no-such-model"
    await sender.house.grant(caller, 1_000_000)
    assert error_of(await caller.ask("hello", model=model, flow="deep_analysis")) == (422, "price_unknown")
    await caller.store_key("sk-sim-adventurous-001122")
    assert error_of(await caller.ask("hello", model=model)) in {(400, "invalid_request"), (404, "not_found")}


async def test_nothing_is_left_of_them_and_the_house_is_well(sender: Sender) -> None:
    (await sender.user.ask("hello after all that")).raise_for_status()
    [row] = await sender.house.rows(_LEFT, [sender.user.user_id, sender.admin.user_id])
    assert row["left"] == 0
    assert all(CANARY not in log for log in sender.house.logs().values())


def test_there_are_over_three_hundred_of_them() -> None:
    told = Counter(case.id for case in ALL)
    assert [name for name, times in told.items() if times > 1] == []
    assert len(ALL) + len(tokens.FORGED) >= 300
    assert all(kind.CASES for kind in KINDS)

"""`POST /api/user/deduct-credits`: what billing did about a run, or one charge of a feature."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import httpx2
import pytest

from services.api_edge.domain.runs import RunRecord
from shared.contracts.billing import ReceiptAttempt
from shared.contracts.credits import GrantCredits
from shared.kernel.errors import ServiceUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeySource, Outcome
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_billing import billed

pytestmark = pytest.mark.component

PATH = "/api/user/deduct-credits"
RUN_ID = UUID("01939a2f-0000-7000-8000-0000000000a1")
FEATURE: dict[str, Any] = {"feature": "export", "credits": "1.5", "idempotency_key": "k"}


def _own(**changes: Any) -> ReceiptAttempt:
    values: dict[str, Any] = {"source": KeySource.USER, "charged_micros": 0}
    return billed(RUN_ID, **(values | changes))


def _paid(**changes: Any) -> ReceiptAttempt:
    return billed(RUN_ID, **changes)


def _edge(*attempts: ReceiptAttempt, user_id: str = "alice") -> Edge:
    edge = Edge()
    edge.runs.runs[RUN_ID] = RunRecord(RUN_ID, user_id, "chat", "openai/gpt-4o-mini", stream=False)
    edge.billing.attempts = [*attempts]
    return edge


async def _ask(edge: Edge, body: dict[str, Any], language: str = "en") -> httpx2.Response:
    async with edge.client(headers={"accept-language": language}) as alice:
        return await alice.post(PATH, json=body)


async def _give(edge: Edge, micros: int) -> None:
    await edge.billing.grant(
        GrantCredits(user_id="alice", amount_micros=micros, idempotency_key="g", granted_by="root")
    )
    edge.billing.commands.clear()


async def test_a_run_on_the_users_own_key_is_told_and_not_charged() -> None:
    edge = _edge(_own())
    await _give(edge, 5_000_000)
    answer = await _ask(edge, {"run_id": str(RUN_ID)})
    assert (answer.status_code, answer.json()) == (
        200,
        {
            "run_id": str(RUN_ID),
            "status": "final",
            "bypassed": True,
            "reason": "byok",
            "charged": "0",
            "charged_micros": 0,
            "balance": "5",
            "balance_micros": 5_000_000,
            "held": "0",
            "held_micros": 0,
            "available": "5",
            "available_micros": 5_000_000,
            "receivable": "0",
            "receivable_micros": 0,
        },
    )
    assert edge.billing.commands == []


_FREE = {"charged_micros": 0}


@pytest.mark.parametrize(
    ("attempts", "bypassed", "reason", "charged"),
    [
        ([_own()], True, "byok", "0"),
        ([_own(outcome=Outcome.FAILED), _own(attempt=2, source=KeySource.SESSION)], True, "byok", "0"),
        ([_own(source=KeySource.USER_GATEWAY)], True, "byok", "0"),
        ([_paid()], False, None, "0.0015"),
        ([_paid(source=KeySource.TEAM_GATEWAY)], False, None, "0.0015"),
        ([_own(outcome=Outcome.FAILED), _paid(attempt=2)], False, None, "0.0015"),
        ([_paid(), _paid(attempt=2)], False, None, "0.003"),
        ([_own(), _paid(attempt=2, **_FREE)], True, "not_charged", "0"),
        ([_own(), _paid(attempt=2, outcome=Outcome.REFUSED, **_FREE)], True, "byok", "0"),
        ([_paid(policy=KeyPolicy.SYSTEM, **_FREE)], True, "system", "0"),
        ([_paid(outcome=Outcome.INTERRUPTED, **_FREE)], True, "not_charged", "0"),
        ([_paid(cost_micros=None, **_FREE)], True, "not_charged", "0"),
        ([_paid(source=None, outcome=Outcome.REFUSED, **_FREE)], True, "not_charged", "0"),
        ([_paid(outcome=Outcome.REFUSED, policy=KeyPolicy.SYSTEM, **_FREE)], True, "not_charged", "0"),
    ],
    ids=[
        "own",
        "own-again",
        "own-gateway",
        "platform",
        "team",
        "mixed",
        "twice",
        "mixed-free",
        "own-then-refused",
        "system",
        "interrupted",
        "unrated",
        "no-key",
        "never-called",
    ],
)
async def test_the_runs_receipt_says_who_paid(
    attempts: Sequence[ReceiptAttempt],
    bypassed: bool,  # noqa: FBT001
    reason: str | None,
    charged: str,
) -> None:
    answer = (await _ask(_edge(*attempts), {"run_id": str(RUN_ID)})).json()
    assert (answer["bypassed"], answer["reason"], answer["charged"]) == (bypassed, reason, charged)


@pytest.mark.parametrize(
    "claim",
    [
        {"byok": True},
        {"isByok": True},
        {"reason": "byok"},
        {"bypassed": True},
        {"key_source": "user"},
        FEATURE,
    ],
    ids=",".join,
)
async def test_what_the_client_says_is_not_believed(claim: dict[str, Any]) -> None:
    edge = _edge(_paid())
    answer = (await _ask(edge, {"run_id": str(RUN_ID), **claim})).json()
    assert (answer["bypassed"], answer["reason"], answer["charged"]) == (False, None, "0.0015")
    assert edge.billing.commands == []


async def test_claiming_an_own_key_makes_no_feature_free() -> None:
    edge = Edge()
    await _give(edge, 2_000_000)
    answer = await _ask(edge, {**FEATURE, "byok": True, "isByok": True})
    assert (answer.json()["bypassed"], answer.json()["balance"]) == (False, "0.5")


@pytest.mark.parametrize(
    "body",
    [
        {"runId": str(RUN_ID)},
        {"runId": str(RUN_ID), "run_id": str(RUN_ID)},
        {"run_id": None, "runId": str(RUN_ID)},
    ],
    ids=["camel", "both", "null"],
)
async def test_a_run_may_be_named_in_either_spelling(body: dict[str, Any]) -> None:
    edge = _edge(_own())
    answer = await _ask(edge, {**FEATURE, **body})
    assert (answer.status_code, answer.json()["reason"]) == (200, "byok")
    assert edge.billing.commands == []


async def test_until_billing_has_seen_the_run_it_is_pending() -> None:
    edge = _edge()
    answer = await _ask(edge, {"run_id": str(RUN_ID)})
    told = answer.json()
    assert (answer.status_code, answer.headers["retry-after"]) == (202, "1")
    assert (told["status"], told["bypassed"], told["reason"], told["charged"]) == (
        "pending",
        None,
        None,
        None,
    )
    assert told["balance"] == "0"


async def test_a_run_that_still_runs_is_pending() -> None:
    edge = _edge(_own(outcome=Outcome.FAILED))
    edge.waiting.open(RUN_ID)
    answer = await _ask(edge, {"run_id": str(RUN_ID)})
    assert (answer.status_code, answer.json()["bypassed"]) == (202, None)


async def test_a_run_that_credits_are_held_for_is_pending() -> None:
    """Its own key failed, and another replica's run is now on the platform's."""
    edge = _edge(_own(outcome=Outcome.FAILED))
    edge.billing.open.add(RUN_ID)
    pending = await _ask(edge, {"run_id": str(RUN_ID)})
    edge.billing.open.clear()
    edge.billing.attempts.append(_paid(attempt=2))
    final = await _ask(edge, {"run_id": str(RUN_ID)})
    assert (pending.status_code, pending.json()["bypassed"]) == (202, None)
    assert (final.json()["bypassed"], final.json()["charged"]) == (False, "0.0015")


@pytest.mark.parametrize("whose", ["bobs", "nobodys"])
async def test_anothers_run_is_not_found(whose: str) -> None:
    run_id = RUN_ID if whose == "bobs" else new_id()
    answer = await _ask(_edge(_paid(), user_id="bob"), {**FEATURE, "run_id": str(run_id)})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["run_id"] == str(run_id)


async def test_a_feature_is_charged_once_a_key() -> None:
    edge = Edge()
    await _give(edge, 2_000_000)
    first = await _ask(edge, FEATURE)
    again = await _ask(edge, FEATURE)
    other = await _ask(edge, {**FEATURE, "feature": "import"})
    assert (first.status_code, first.json()) == (
        200,
        {
            "transfer_id": first.json()["transfer_id"],
            "feature": "export",
            "bypassed": False,
            "reason": None,
            "charged": "1.5",
            "charged_micros": 1_500_000,
            "balance": "0.5",
            "balance_micros": 500_000,
            "held": "0",
            "held_micros": 0,
            "available": "0.5",
            "available_micros": 500_000,
            "receivable": "0",
            "receivable_micros": 0,
            "idempotency_key": "k",
            "created_at": "2026-01-01T12:00:00Z",
        },
    )
    assert again.json() == first.json()
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("language", "message"),
    [
        ("en", "You do not have enough credits for this."),
        ("it", "Non hai crediti sufficienti per questa operazione."),
    ],
)
async def test_too_few_credits_are_told_with_what_is_missing(language: str, message: str) -> None:
    edge = Edge()
    await _give(edge, 1_000_000)
    edge.billing.held_micros = 250_000
    answer = await _ask(edge, FEATURE, language)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (402, "insufficient_credits")
    assert (problem["missing"], problem["missing_micros"]) == ("0.75", 750_000)
    assert (problem["message"], problem["service"]) == (message, "billing")
    assert problem["settings_url"] == "https://app.example/settings"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"run_id": "x"}, "run_id"),
        ({"run_id": 5}, "run_id"),
        ({"runId": "x"}, "runId"),
        ({"run_id": str(RUN_ID), "runId": str(UUID(int=1))}, "run_id"),
        ({"run_id": str(RUN_ID), "idempotency_key": 7}, "idempotency_key"),
        ({}, "feature"),
        ({**FEATURE, "feature": ""}, "feature"),
        ({**FEATURE, "feature": "f" * 101}, "feature"),
        ({**FEATURE, "feature": "sk-canary-0123456789"}, "feature"),
        ({**FEATURE, "credits": "-1"}, "credits"),
        ({**FEATURE, "credits": "0"}, "credits"),
        ({**FEATURE, "credits": "1_000"}, "credits"),
        ({**FEATURE, "idempotency_key": ""}, "idempotency_key"),
        ({"feature": "export", "credits": 1}, "idempotency_key"),
        ({"feature": "export", "idempotency_key": "k"}, "credits"),
    ],
    ids=lambda value: ascii(value)[:60] if isinstance(value, dict) else None,
)
async def test_bad_input_is_refused(body: dict[str, Any], param: str) -> None:
    edge = Edge()
    answer = await _ask(edge, body)
    assert (answer.status_code, answer.json()["code"], answer.json()["param"]) == (
        422,
        "invalid_request",
        param,
    )
    assert "canary" not in answer.text
    assert edge.billing.commands == []


async def test_without_billing_there_is_a_typed_error() -> None:
    edge = _edge()
    edge.billing.error = ServiceUnavailableError(service="billing", retry_after_s=2)
    for body in (FEATURE, {"run_id": str(RUN_ID)}):
        answer = await _ask(edge, body)
        assert (answer.status_code, answer.json()["service"]) == (503, "billing")

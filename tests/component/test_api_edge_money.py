"""Credits: balances, statements, grants and adjustments."""

from typing import Any
from urllib.parse import quote

import pytest

from shared.kernel.errors import ServiceUnavailableError
from tests.fakes.api_edge import Edge

pytestmark = pytest.mark.component

GRANTS, ADJUSTMENTS = "/api/admin/credits/grants", "/api/admin/credits/adjustments"
RUN_ID = "01939a2f-0000-7000-8000-0000000000a1"
GRANT: dict[str, Any] = {"user_id": "alice", "credits": 5, "idempotency_key": "first"}
ADJUSTMENT: dict[str, Any] = {**GRANT, "credits": "-2.5", "reason": "billed twice"}


async def test_an_administrator_grants_credits_once_a_key() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin, edge.client() as alice:
        first = await admin.post(GRANTS, json=GRANT)
        again = await admin.post(GRANTS, json=GRANT)
        other = await admin.post(GRANTS, json={**GRANT, "credits": 6})
        balance = (await alice.get("/api/credits")).json()["balance"]
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.json() == {
        "transfer_id": first.json()["transfer_id"],
        "user_id": "alice",
        "credits": "5",
        "credits_micros": 5_000_000,
        "receivable_change": "0",
        "receivable_change_micros": 0,
        "balance": "5",
        "balance_micros": 5_000_000,
        "idempotency_key": "first",
        "created_at": "2026-01-01T12:00:00Z",
    }
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert balance == "5"


@pytest.mark.parametrize(
    ("amount", "micros"),
    [
        (1, 10**6),
        ("05", 5 * 10**6),
        (0.1, 100_000),
        ("0.000001", 1),
        ("5.25", 5_250_000),
        (1e3, 10**9),
        (10**9, 10**15),
    ],
)
async def test_credits_are_exact(amount: object, micros: int) -> None:
    async with Edge().client("lk_admin") as admin:
        answer = await admin.post(GRANTS, json={**GRANT, "credits": amount})
    assert (answer.status_code, answer.json()["credits_micros"]) == (201, micros)


_BAD_MOVES: list[tuple[dict[str, Any], str]] = [
    ({"credits": 0}, "credits"),
    ({"credits": "0.0"}, "credits"),
    ({"credits": "0.0000001"}, "credits"),
    ({"credits": 10**9 + 1}, "credits"),
    ({"credits": "1e999999999"}, "credits"),
    ({"credits": "1e3"}, "credits"),
    ({"credits": "1_000"}, "credits"),
    ({"credits": "1,000"}, "credits"),
    ({"credits": "\u0661"}, "credits"),
    ({"credits": " 5"}, "credits"),
    ({"credits": "5\n"}, "credits"),
    ({"credits": ".5"}, "credits"),
    ({"credits": "5."}, "credits"),
    ({"credits": "+5"}, "credits"),
    ({"credits": "--5"}, "credits"),
    ({"credits": "0" * 50}, "credits"),
    ({"credits": ""}, "credits"),
    ({"credits": "NaN"}, "credits"),
    ({"credits": "Infinity"}, "credits"),
    ({"credits": "five"}, "credits"),
    ({"credits": True}, "credits"),
    ({"credits": [5]}, "credits"),
    ({"credits": None}, "credits"),
    ({"user_id": "sk-canary-0123456789"}, "user_id"),
    ({"user_id": ""}, "user_id"),
    ({"user_id": "a\x00b"}, "user_id"),
    ({"user_id": "u" * 129}, "user_id"),
    ({"user_id": 5}, "user_id"),
    ({"idempotency_key": "sk-canary-0123456789"}, "idempotency_key"),
    ({"idempotency_key": ""}, "idempotency_key"),
    ({"idempotency_key": "a\nb"}, "idempotency_key"),
    ({"idempotency_key": "k" * 201}, "idempotency_key"),
    ({"idempotency_key": None}, "idempotency_key"),
]


def _case(case: object) -> str | None:
    return ascii(case)[:40] if isinstance(case, dict) else None


@pytest.mark.parametrize(
    ("change", "param"),
    [*_BAD_MOVES, ({"credits": -1}, "credits"), ({"credits": "-1"}, "credits")],
    ids=_case,
)
async def test_a_bad_grant_is_refused(change: dict[str, Any], param: str) -> None:
    await _is_refused(GRANTS, {**GRANT, **change}, param)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        *_BAD_MOVES,
        ({"credits": -(10**9) - 1}, "credits"),
        ({"reason": ""}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "r" * 501}, "reason"),
        ({"reason": "sk-canary-0123456789"}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"run_id": "x"}, "run_id"),
        ({"run_id": 5}, "run_id"),
    ],
    ids=_case,
)
async def test_a_bad_adjustment_is_refused(change: dict[str, Any], param: str) -> None:
    await _is_refused(ADJUSTMENTS, {**ADJUSTMENT, **change}, param)


async def _is_refused(path: str, body: dict[str, Any], param: str) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.post(path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")
    assert answer.json()["param"] == param
    assert "canary" not in answer.text
    assert edge.billing.commands == []


async def test_an_administrator_corrects_a_balance_once_a_key() -> None:
    edge = Edge()
    body = {**ADJUSTMENT, "run_id": RUN_ID}
    async with edge.client("lk_admin") as admin:
        await admin.post(GRANTS, json=GRANT)
        first = await admin.post(ADJUSTMENTS, json=body)
        again = await admin.post(ADJUSTMENTS, json=body)
        other = await admin.post(ADJUSTMENTS, json={**body, "reason": "another"})
    assert first.status_code == again.status_code == 201
    assert first.json() == again.json()
    assert first.json() == {
        "transfer_id": first.json()["transfer_id"],
        "user_id": "alice",
        "credits": "-2.5",
        "credits_micros": -2_500_000,
        "receivable_change": "0",
        "receivable_change_micros": 0,
        "balance": "2.5",
        "balance_micros": 2_500_000,
        "reason": "billed twice",
        "run_id": RUN_ID,
        "idempotency_key": "first",
        "created_at": "2026-01-01T12:00:00Z",
    }
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    command = edge.billing.commands[1]
    assert (str(getattr(command, "run_id", None)), getattr(command, "adjusted_by", None)) == (RUN_ID, "root")


@pytest.mark.parametrize(
    ("amount", "micros"), [("-2.5", -2_500_000), (-0.1, -100_000), ("0.000001", 1), (-(10**9), -(10**15))]
)
async def test_adjustments_are_exact(amount: object, micros: int) -> None:
    async with Edge().client("lk_admin") as admin:
        answer = await admin.post(ADJUSTMENTS, json={**ADJUSTMENT, "credits": amount})
    assert (answer.status_code, answer.json()["credits_micros"]) == (201, micros)


@pytest.mark.parametrize(("path", "body"), [(GRANTS, GRANT), (ADJUSTMENTS, ADJUSTMENT)])
async def test_only_administrators_move_credits(path: str, body: dict[str, Any]) -> None:
    edge = Edge()
    async with edge.client() as alice, edge.client(None) as nobody:
        forbidden = await alice.post(path, json=body)
        unknown = await nobody.post(path, json=body)
    assert (forbidden.status_code, forbidden.json()["code"]) == (403, "forbidden")
    assert (unknown.status_code, unknown.json()["code"]) == (401, "unauthenticated")
    assert edge.billing.commands == []


async def test_credits_are_decimal_strings_beside_micros() -> None:
    edge = Edge()
    edge.billing.held_micros = 250_000
    async with edge.client("lk_admin") as admin, edge.client() as alice:
        await admin.post(GRANTS, json=GRANT)
        answer = await alice.get("/api/credits")
    assert answer.json() == {
        "balance": "5",
        "balance_micros": 5_000_000,
        "held": "0.25",
        "held_micros": 250_000,
        "available": "4.75",
        "available_micros": 4_750_000,
        "receivable": "0",
        "receivable_micros": 0,
    }


async def test_a_statement_tells_every_entry_newest_first() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin, edge.client() as alice:
        await admin.post(GRANTS, json=GRANT)
        await admin.post(GRANTS, json={**GRANT, "user_id": "bob", "idempotency_key": "bobs"})
        await admin.post(ADJUSTMENTS, json={**ADJUSTMENT, "run_id": RUN_ID})
        first = (await alice.get("/api/credits/statement", params={"limit": 1})).json()
        cursor = first["next_cursor"]
        rest = (await alice.get("/api/credits/statement", params={"limit": 1, "cursor": cursor})).json()
        admins = (await admin.get("/api/admin/credits/alice/statement")).json()
    assert first["items"] == [
        {
            "kind": "adjustment",
            "cause": "adjustment",
            "cause_id": first["items"][0]["cause_id"],
            "amount": "-2.5",
            "amount_micros": -2_500_000,
            "receivable_change": "0",
            "receivable_change_micros": 0,
            "balance": "2.5",
            "balance_micros": 2_500_000,
            "run_id": RUN_ID,
            "attempt": None,
            "reason": "billed twice",
            "created_at": "2026-01-01T12:00:00Z",
        }
    ]
    assert [(entry["kind"], entry["balance"]) for entry in rest["items"]] == [("grant", "5")]
    assert (rest["next_cursor"], admins["next_cursor"]) == (None, None)
    assert admins["items"] == first["items"] + rest["items"]


@pytest.mark.parametrize(
    ("query", "status"),
    [({"limit": "0"}, 422), ({"limit": "201"}, 422), ({"cursor": "?"}, 422), ({"cursor": "c" * 501}, 422)],
)
async def test_a_bad_page_is_refused(query: dict[str, str], status: int) -> None:
    async with Edge().client("lk_admin") as admin:
        for path in ("/api/credits/statement", "/api/admin/credits/alice/statement"):
            answer = await admin.get(path, params=query)
            assert (answer.status_code, answer.json()["code"]) == (status, "invalid_request")


@pytest.mark.parametrize("user_id", ["alice", "https://idp.example/users/1", "grants", "é x"])
async def test_administrators_see_anybodys_credits(user_id: str) -> None:
    path = f"/api/admin/credits/{quote(user_id, safe='')}"
    async with Edge().client("lk_admin") as admin:
        await admin.post(GRANTS, json={**GRANT, "user_id": user_id})
        found = (await admin.get(path)).json()
        (entry,) = (await admin.get(f"{path}/statement")).json()["items"]
    assert (found["user_id"], found["balance"], entry["amount"]) == (user_id, "5", "5")


@pytest.mark.parametrize("user_id", ["a%00b", "u" * 129, "sk-canary-0123456789"])
async def test_what_is_no_users_id_has_no_credits(user_id: str) -> None:
    async with Edge().client("lk_admin") as admin:
        for path in (f"/api/admin/credits/{user_id}", f"/api/admin/credits/{user_id}/statement"):
            answer = await admin.get(path)
            assert (answer.status_code, answer.json()["param"]) == (422, "user_id")


@pytest.mark.parametrize("path", ["/api/admin/credits/bob", "/api/admin/credits/bob/statement"])
async def test_only_administrators_see_others(path: str) -> None:
    async with Edge().client() as alice:
        answer = await alice.get(path)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_without_billing_there_is_a_typed_error() -> None:
    edge = Edge()
    edge.billing.error = ServiceUnavailableError(service="billing", retry_after_s=2)
    async with edge.client("lk_admin") as admin:
        answers = [
            await admin.get("/api/credits"),
            await admin.get("/api/credits/statement"),
            await admin.get("/api/usage"),
            await admin.get("/api/admin/usage"),
            await admin.get("/api/admin/credits/alice"),
            await admin.post(ADJUSTMENTS, json=ADJUSTMENT),
        ]
    for answer in answers:
        assert (answer.status_code, answer.json()["service"]) == (503, "billing")
        assert answer.headers["retry-after"] == "2"

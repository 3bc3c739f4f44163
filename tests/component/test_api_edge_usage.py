"""Usage lists: one's own, and everybody's."""

from datetime import UTC, datetime
from typing import Any

import pytest

from shared.contracts.billing import ListUsage
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource
from tests.fakes.api_edge import Edge
from tests.fakes.api_edge_billing import billed

pytestmark = pytest.mark.component

ASKED = {
    "since": "2026-01-01T00:00:00Z",
    "until": "2026-02-01T01:00:00+01:00",
    "flow": "chat",
    "model": "openai/gpt-4o-mini",
    "key_source": "user",
    "limit": "7",
    "cursor": "0",
}
LISTS = ["/api/usage", "/api/admin/usage"]


async def test_usage_is_paged_newest_first() -> None:
    edge = Edge()
    runs = [new_id() for _ in range(3)]
    edge.billing.attempts = [billed(run_id) for run_id in runs] + [billed(new_id(), "bob")]
    async with edge.client() as alice:
        first = (await alice.get("/api/usage", params={"limit": 2})).json()
        rest = (await alice.get("/api/usage", params={"limit": 2, "cursor": first["next_cursor"]})).json()
    seen = [item["run_id"] for page in (first, rest) for item in page["items"]]
    assert seen == [str(run_id) for run_id in reversed(runs)]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize("limit", ["0", "201", "-1", "ten", "1e9", ""])
async def test_a_bad_limit_is_refused(limit: str) -> None:
    async with Edge().client() as alice:
        answer = await alice.get("/api/usage", params={"limit": limit})
    assert (answer.status_code, answer.json()["param"]) == (422, "limit")


async def test_totals_are_of_all_pages() -> None:
    edge = Edge()
    run_id = new_id()
    edge.billing.attempts = [
        billed(run_id, source=KeySource.USER, charged_micros=0),
        billed(run_id, attempt=2),
        billed(new_id(), cost_micros=None, charged_micros=0),
    ]
    async with edge.client() as alice:
        page = (await alice.get("/api/usage", params={"limit": 1})).json()
    assert page["totals"] == {
        "runs": 2,
        "attempts": 3,
        "keyed_attempts": 3,
        "byok_attempts": 1,
        "byok_share": "0.3333",
        "unrated_attempts": 1,
        "tokens": {
            "prompt": 30,
            "completion": 15,
            "total": 45,
            "cached": 0,
            "cache_write": 0,
            "reasoning": 0,
        },
        "cost": "0.003",
        "cost_micros": 3_000,
        "charged": "0.0015",
        "charged_micros": 1_500,
    }


async def test_without_attempts_there_is_no_share() -> None:
    async with Edge().client() as alice:
        page = (await alice.get("/api/usage")).json()
    assert (page["items"], page["next_cursor"], page["totals"]["byok_share"]) == ([], None, None)


async def test_filters_are_billings() -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        for path, more in ((LISTS[0], {}), (LISTS[1], {}), (LISTS[1], {"user_id": "bob"})):
            assert (await admin.get(path, params={**ASKED, **more})).status_code == 200
    asked = ListUsage(
        user_id="root",
        since=datetime(2026, 1, 1, tzinfo=UTC),
        until=datetime(2026, 2, 1, tzinfo=UTC),
        flow="chat",
        model="openai/gpt-4o-mini",
        key_source=KeySource.USER,
        limit=7,
        cursor="0",
    )
    users = ("root", None, "bob")
    assert edge.billing.listed == [asked.model_copy(update={"user_id": user}) for user in users]


async def test_administrators_see_whose_it_was() -> None:
    edge = Edge()
    edge.billing.attempts = [billed(new_id()), billed(new_id(), "bob")]
    async with edge.client("lk_admin") as admin:
        everybodys = (await admin.get("/api/admin/usage")).json()
        bobs = (await admin.get("/api/admin/usage", params={"user_id": "bob"})).json()
    assert [item["user_id"] for item in everybodys["items"]] == ["bob", "alice"]
    assert [item["user_id"] for item in bobs["items"]] == ["bob"]
    assert (everybodys["totals"]["attempts"], bobs["totals"]["attempts"]) == (2, 1)


async def test_a_user_sees_only_their_own_whatever_they_ask() -> None:
    edge = Edge()
    edge.billing.attempts = [billed(new_id(), "bob")]
    async with edge.client() as alice:
        own = await alice.get("/api/usage", params={"user_id": "bob"})
        everybodys = await alice.get("/api/admin/usage")
    assert own.json()["items"] == []
    assert (everybodys.status_code, everybodys.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("since", "yesterday"),
        ("since", "2026-01-01T00:00:00"),
        ("since", "1767225600"),
        ("until", "0.5"),
        ("until", ""),
        ("flow", ""),
        ("flow", "a\x00b"),
        ("model", "m" * 201),
        ("key_source", "mine"),
        ("cursor", "c" * 501),
    ],
)
async def test_a_bad_filter_is_refused(path: str, param: str, value: Any) -> None:
    edge = Edge()
    async with edge.client("lk_admin") as admin:
        answer = await admin.get(path, params={param: value})
    assert (answer.status_code, answer.json()["param"]) == (422, param)
    assert edge.billing.listed == []

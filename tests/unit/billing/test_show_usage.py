"""Receipts and pages of usage."""

import base64

import pytest

from services.billing.ports import Entry
from services.billing.use_cases.record_usage import rate_usage
from services.billing.use_cases.show_usage import list_usage, show_receipt
from shared.contracts.billing import GetReceipt, ListUsage
from shared.kernel.errors import InvalidRequestError
from shared.kernel.ids import new_id
from tests.fakes.billing import TARIFF, InMemoryLedgerStore, InMemoryPriceBook, usage

pytestmark = pytest.mark.unit


async def _with(count: int) -> tuple[InMemoryLedgerStore, list[Entry]]:
    store = InMemoryLedgerStore()
    prices = InMemoryPriceBook()
    kept = await store.record(
        [usage() for _ in range(count)],
        lambda one, hold: rate_usage(one, hold, prices=prices, tariff=TARIFF),
    )
    return store, kept


async def test_pages_are_newest_first_and_each_item_is_on_one() -> None:
    store, kept = await _with(7)
    seen = []
    cursor: str | None = None
    for size in (3, 3, 1):
        page = await list_usage(ListUsage(user_id="ada", limit=3, cursor=cursor), usage=store)
        assert len(page.items) == size
        seen += [item.usage.usage_id for item in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert seen == [entry.usage.event.usage_id for entry in reversed(kept)]


async def test_a_full_last_page_has_no_next() -> None:
    store, _ = await _with(3)
    assert (await list_usage(ListUsage(user_id="ada", limit=3), usage=store)).next_cursor is None


@pytest.mark.parametrize(
    "cursor",
    ["x", "", "é", "AAAA", *(base64.urlsafe_b64encode(text).decode() for text in (b"a|b", b"2026-01-01|1"))],
)
async def test_a_foreign_cursor_is_refused(cursor: str) -> None:
    store, _ = await _with(1)
    with pytest.raises(InvalidRequestError):
        await list_usage(ListUsage(user_id="ada", cursor=cursor), usage=store)


async def test_a_naive_time_in_a_cursor_is_refused() -> None:
    store, _ = await _with(1)
    cursor = base64.urlsafe_b64encode(f"2026-01-01T00:00:00|{new_id()}".encode()).decode()
    with pytest.raises(InvalidRequestError):
        await list_usage(ListUsage(user_id="ada", cursor=cursor), usage=store)


async def test_an_unseen_run_has_an_empty_receipt() -> None:
    store, _ = await _with(1)
    run_id = new_id()
    receipt = await show_receipt(GetReceipt(user_id="ada", run_id=run_id), usage=store)
    assert (receipt.run_id, receipt.attempts) == (run_id, ())

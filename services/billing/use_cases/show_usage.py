"""Show a user what was used and charged."""

import base64
import binascii
from datetime import datetime
from uuid import UUID

from services.billing.ports import Position, UsageStore
from shared.contracts.billing import GetReceipt, ListUsage, Receipt, UsagePage
from shared.kernel.errors import InvalidRequestError


async def show_receipt(request: GetReceipt, *, usage: UsageStore) -> Receipt:
    """Return a run's attempts; an empty receipt for a run that billing has not seen."""
    attempts = await usage.of_run(request.user_id, request.run_id)
    return Receipt(run_id=request.run_id, attempts=tuple(attempts))


async def list_usage(request: ListUsage, *, usage: UsageStore) -> UsagePage:
    """Return a page, newest first. Raises InvalidRequestError for a cursor that is not ours."""
    before = _position(request.cursor) if request.cursor is not None else None
    found = await usage.of_user(request.user_id, limit=request.limit + 1, before=before)
    page = found[: request.limit]
    return UsagePage(
        items=tuple(item for _, item in page),
        next_cursor=_cursor(page[-1][0]) if len(found) > len(page) else None,
    )


def _cursor(position: Position) -> str:
    text = f"{position.recorded_at.isoformat()}|{position.usage_id}"
    return base64.urlsafe_b64encode(text.encode()).decode()


def _position(cursor: str) -> Position:
    try:
        recorded_at, usage_id = base64.urlsafe_b64decode(cursor.encode()).decode().split("|")
        position = Position(datetime.fromisoformat(recorded_at), UUID(usage_id))
    except (ValueError, binascii.Error):
        raise InvalidRequestError("cursor is not one of ours") from None
    if position.recorded_at.tzinfo is None:
        raise InvalidRequestError("cursor is not one of ours")
    return position

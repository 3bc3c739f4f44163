"""Batches in which one bad item does not keep the others."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from shared.kernel.errors import DatabaseUnavailableError

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def past_refusals(
    items: Sequence[ItemT | Exception], handle: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]]
) -> list[ResultT | Exception]:
    """Handle what can be: those that are errors already keep their places among the results."""
    results = iter(await handle([item for item in items if not isinstance(item, Exception)]))
    return [item if isinstance(item, Exception) else next(results) for item in items]


async def isolating(
    items: Sequence[ItemT], handle: Callable[[Sequence[ItemT]], Awaitable[Sequence[ResultT]]]
) -> list[ResultT | Exception]:
    """Handle a batch whole; when it fails, its halves, until what fails stands alone with its error.

    `handle` does all or nothing. Raises DatabaseUnavailableError, which is no item's fault.
    """
    if not items:
        return []
    try:
        return list(await handle(items))
    except DatabaseUnavailableError:
        raise
    except Exception as error:  # noqa: BLE001 - the caller raises it, for this item alone
        if len(items) == 1:
            return [error]
    half = len(items) // 2
    return [*await isolating(items[:half], handle), *await isolating(items[half:], handle)]

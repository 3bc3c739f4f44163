"""Usage as billed, in Postgres."""

from uuid import UUID

from shared.contracts.billing import ListUsage, ReceiptAttempt, UsagePage
from shared.runtime.postgres import Pool


class PostgresUsageStore:
    """See `UsageStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def of_run(self, user_id: str, run_id: UUID) -> list[ReceiptAttempt]:
        raise NotImplementedError

    async def page(self, request: ListUsage) -> UsagePage:
        raise NotImplementedError

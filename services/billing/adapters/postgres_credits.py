"""What users have, in Postgres."""

from services.billing.domain.movement import Movement
from services.billing.ports import Plan
from shared.contracts.credits import Balance, CreditsMoved, StatementPage
from shared.runtime.postgres import Pool


class PostgresCreditStore:
    """See `CreditStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def move(self, movement: Movement, plan: Plan) -> CreditsMoved:
        raise NotImplementedError

    async def balance(self, user_id: str) -> Balance:
        raise NotImplementedError

    async def statement(self, user_id: str, *, limit: int, cursor: str | None) -> StatementPage:
        raise NotImplementedError

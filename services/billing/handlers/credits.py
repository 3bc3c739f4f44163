"""Requests about credits: grants, adjustments, deductions, balances, statements."""

from services.billing.handlers.parts import Parts
from services.billing.use_cases.move_credits import adjust_credits, deduct_credits, grant_credits
from shared.contracts.credits import (
    AdjustCredits,
    Balance,
    CreditsMoved,
    DeductCredits,
    GetBalance,
    GrantCredits,
    ListStatement,
    StatementPage,
)
from shared.kernel.names import API_EDGE
from shared.runtime.rpc import Route


class CreditHandlers:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        return [
            Route(GrantCredits, self.on_grant_credits, (API_EDGE,)),
            Route(AdjustCredits, self.on_adjust_credits, (API_EDGE,)),
            Route(DeductCredits, self.on_deduct_credits, (API_EDGE,)),
            Route(GetBalance, self.on_get_balance, (API_EDGE,)),
            Route(ListStatement, self.on_list_statement, (API_EDGE,)),
        ]

    async def on_grant_credits(self, request: GrantCredits) -> CreditsMoved:
        return self._told(await grant_credits(request, credit_store=self._parts.credits))

    async def on_adjust_credits(self, request: AdjustCredits) -> CreditsMoved:
        return self._told(await adjust_credits(request, credit_store=self._parts.credits))

    async def on_deduct_credits(self, request: DeductCredits) -> CreditsMoved:
        return self._told(await deduct_credits(request, credit_store=self._parts.credits))

    async def on_get_balance(self, request: GetBalance) -> Balance:
        return await self._parts.credits.balance(request.user_id)

    async def on_list_statement(self, request: ListStatement) -> StatementPage:
        return await self._parts.credits.statement(
            request.user_id, limit=request.limit, cursor=request.cursor
        )

    def _told(self, moved: CreditsMoved) -> CreditsMoved:
        self._parts.wake()
        return moved

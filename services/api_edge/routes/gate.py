"""Who may pass."""

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from services.api_edge.domain.allowance import Limited
from services.api_edge.domain.identity import ANONYMOUS, Caller
from services.api_edge.ports import RateLimiter
from services.api_edge.routes.request_head import check_head
from services.api_edge.use_cases.authenticate import Authenticate
from shared.kernel.errors import ForbiddenError
from shared.kernel.names import Role

BEARER = Depends(HTTPBearer(auto_error=False, description="An API token (`lk_…`) or a JWT."))
"""Shows in /docs that a route wants a token; the gate reads it."""
BEARER_DOCS: dict[str, list[dict[str, list[str]]]] = {"security": [{"HTTPBearer": []}]}


class Gate:
    """`is_open`: no token is needed for what needs no user."""

    def __init__(self, authenticate: Authenticate, rates: RateLimiter, *, is_open: bool = False) -> None:
        self._authenticate = authenticate
        self._rates = rates
        self._is_open = is_open

    async def caller(self, request: Request) -> None:
        """Let callers with a good token pass; with none at all, too, where it is open.

        Raises BadInputError for an ambiguous head, UnauthenticatedError, OverLimitError.
        """
        await self._pass(request, Limited.REQUESTS)

    async def runner(self, request: Request) -> None:
        """As `caller`, for who asks for a run. Raises UnauthenticatedError, OverLimitError."""
        await self._pass(request, Limited.RUNS)

    async def signed_in(self, request: Request) -> None:
        """Let users pass: callers with a good token.

        Raises UnauthenticatedError, ForbiddenError, OverLimitError.
        """
        await self.caller(request)
        _check_signed_in(request)

    async def signed_in_runner(self, request: Request) -> None:
        """As `signed_in`, for who asks for a run."""
        await self.runner(request)
        _check_signed_in(request)

    async def count_runs(self, request: Request, more: int) -> None:
        """Count what a request asks for beside its first run. Raises OverLimitError."""
        for _ in range(more):
            request.state.allowance = await self._rates.hit(Limited.RUNS, caller_of(request).user_id)

    async def admin(self, request: Request) -> None:
        """Let administrators pass. Raises UnauthenticatedError, ForbiddenError."""
        await self.signed_in(request)
        if caller_of(request).role is not Role.ADMIN:
            raise ForbiddenError("only administrators may do this")

    async def _pass(self, request: Request, limited: Limited) -> None:
        check_head(request.scope)
        caller = request.state.caller = await self._caller(request.headers.get("authorization"))
        request.state.allowance = await self._rates.hit(limited, caller.user_id)

    async def _caller(self, authorization: str | None) -> Caller:
        if authorization is None and self._is_open:
            return Caller(ANONYMOUS, Role.USER)
        return await self._authenticate(authorization)


def _check_signed_in(request: Request) -> None:
    if caller_of(request).is_anonymous:
        raise ForbiddenError("this is for users, and nobody is signed in")


def caller_of(request: Request) -> Caller:
    """Return who passed the gate."""
    caller: Caller = request.state.caller
    return caller

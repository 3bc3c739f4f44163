"""Who may pass."""

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from services.api_edge.domain.identity import Caller
from services.api_edge.use_cases.authenticate import Authenticate
from shared.kernel.errors import ForbiddenError
from shared.kernel.names import Role

BEARER = Depends(HTTPBearer(auto_error=False, description="An API token (`lk_…`) or a JWT."))
"""Shows in /docs that a route wants a token; the gate reads it."""
BEARER_DOCS: dict[str, list[dict[str, list[str]]]] = {"security": [{"HTTPBearer": []}]}


class Gate:
    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def signed_in(self, request: Request) -> None:
        """Let callers with a good token pass. Raises UnauthenticatedError."""
        request.state.caller = await self._authenticate(request.headers.get("authorization"))

    async def admin(self, request: Request) -> None:
        """Let administrators pass. Raises UnauthenticatedError, ForbiddenError."""
        await self.signed_in(request)
        if caller_of(request).role is not Role.ADMIN:
            raise ForbiddenError("only administrators may do this")


def caller_of(request: Request) -> Caller:
    """Return who passed the gate."""
    caller: Caller = request.state.caller
    return caller

"""`/api/admin`: the platform's keys, and everybody's, for administrators. No key ever comes out."""

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field

from services.api_edge.ports import KeyAdministration
from services.api_edge.routes.docs import body_docs
from services.api_edge.routes.gate import BEARER, Gate
from services.api_edge.routes.wire import Input, Json, UserId, moment_or_none, read_body
from shared.contracts.keys import RevokeKeys
from shared.contracts.platform_keys import PlatformKeyInfo
from shared.kernel.errors import NotFoundError
from shared.kernel.lengths import CREDENTIAL_ID_CHARS_MAX
from shared.kernel.names import KeyService


class MendBody(Input):
    state: Literal["ready"]


class RevokeBody(Input):
    """Without `service`: the user's keys for all of them."""

    user_id: UserId
    service: KeyService | None = None


class RewrapBody(Input):
    limit: int = Field(default=200, ge=1, le=1_000, strict=True)


def key_admin_router(gate: Gate, administration: KeyAdministration) -> APIRouter:
    router = APIRouter(prefix="/api/admin", tags=["admin"], dependencies=[BEARER, Depends(gate.admin)])

    @router.get("/platform-keys", response_class=Json)
    async def list_platform_keys() -> Json:
        """Which keys the platform has, and how each stands."""
        found = await administration.platform_keys()
        return Json({"items": [_view(key) for key in found.items], "next_cursor": None})

    @router.patch("/platform-keys/{credential_id}", response_class=Json, openapi_extra=body_docs(MendBody))
    async def mend_platform_key(request: Request, credential_id: str) -> Json:
        """Make a key ready again that cools down or is out."""
        await read_body(request, MendBody)
        if len(credential_id) > CREDENTIAL_ID_CHARS_MAX:
            raise NotFoundError("no such key")
        return Json(_view(await administration.mend_platform_key(credential_id)))

    @router.post("/keys/revoke", response_class=Json, openapi_extra=body_docs(RevokeBody))
    async def revoke_keys(request: Request) -> Json:
        """Destroy a user's keys. Every worker stops using them within a second."""
        body = await read_body(request, RevokeBody)
        command = RevokeKeys(user_id=body.user_id, service=body.service)
        revoked = await administration.revoke_all(command)
        return Json({"revoked": [str(credential_id) for credential_id in revoked]})

    @router.post("/keys/rewrap", response_class=Json, openapi_extra=body_docs(RewrapBody, required=False))
    async def rewrap_keys(request: Request) -> Json:
        """Encrypt some keys anew after the master key was rotated. Repeat until none remain."""
        body = await read_body(request, RewrapBody) if await request.body() else RewrapBody()
        done = await administration.rewrap(body.limit)
        return Json(
            {"rewrapped": done.rewrapped, "remaining": done.remaining, "key_version": done.key_version}
        )

    return router


def _view(key: PlatformKeyInfo) -> dict[str, Any]:
    return {
        "credential_id": key.credential_id,
        "service": key.service,
        "hint": key.hint,
        "state": key.state,
        "until": moment_or_none(key.until),
        "reason": key.reason,
        "changed_at": moment_or_none(key.changed_at),
    }

"""`/api/user-settings`: the user's consent to what is not their own key."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field, StrictBool

from services.api_edge.domain.errors import BadInputError
from services.api_edge.ports import KeyVault
from services.api_edge.routes.docs import body_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, moment_or_none, read_body
from shared.contracts.consent import ChangeUserSettings, UserSettings

_PLATFORM, _GATEWAY = "allowPlatformFallback", "allowGatewayFallback"


class SettingsBody(Input):
    """Each decision in either spelling; what is not given stays."""

    platform: StrictBool | None = Field(default=None, validation_alias=_PLATFORM)
    gateway: StrictBool | None = Field(default=None, validation_alias=_GATEWAY)
    allow_platform_fallback: StrictBool | None = None
    allow_gateway_fallback: StrictBool | None = None


def user_settings_router(gate: Gate, key_vault: KeyVault) -> APIRouter:
    router = APIRouter(
        prefix="/api/user-settings", tags=["settings"], dependencies=[BEARER, Depends(gate.signed_in)]
    )

    @router.get("", response_class=Json)
    async def read_settings(request: Request) -> Json:
        return Json(_view(await key_vault.settings(caller_of(request).user_id)))

    @router.post("", response_class=Json, openapi_extra=body_docs(SettingsBody))
    async def change_settings(request: Request) -> Json:
        """Decide whether a run may fall back to the platform's keys, or to the team's gateway."""
        body = await read_body(request, SettingsBody)
        command = ChangeUserSettings(
            user_id=caller_of(request).user_id,
            allow_platform_fallback=_one(body.platform, body.allow_platform_fallback, _PLATFORM),
            allow_gateway_fallback=_one(body.gateway, body.allow_gateway_fallback, _GATEWAY),
        )
        if command.allow_platform_fallback is None and command.allow_gateway_fallback is None:
            raise BadInputError("nothing_given", f"{_GATEWAY}, {_PLATFORM}")
        return Json(_view(await key_vault.change_settings(command)))

    return router


def consent_view(*, platform: bool, gateway: bool) -> dict[str, bool]:
    return {
        _GATEWAY: gateway,
        _PLATFORM: platform,
        "allow_gateway_fallback": gateway,
        "allow_platform_fallback": platform,
    }


def _one(camel: bool | None, snake: bool | None, name: str) -> bool | None:  # noqa: FBT001
    """Return what was decided. Two answers are none: consent is not guessed."""
    if camel is not None and snake is not None and camel is not snake:
        raise BadInputError("spelled_twice", name)
    return snake if camel is None else camel


def _view(settings: UserSettings) -> dict[str, Any]:
    return {
        **consent_view(platform=settings.allow_platform_fallback, gateway=settings.allow_gateway_fallback),
        "consent_id": settings.consent_id,
        "decided_at": moment_or_none(settings.decided_at),
    }

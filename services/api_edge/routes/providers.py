"""Status: whose key a run of the caller's would use now, by service."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from services.api_edge.ports import KeyVault
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.user_settings import consent_view
from services.api_edge.routes.wire import Json
from shared.contracts.keys import KeyStatus, ServiceKeys
from shared.kernel.names import KeyService


def providers_router(gate: Gate, key_vault: KeyVault) -> APIRouter:
    router = APIRouter(tags=["status"], dependencies=[BEARER, Depends(gate.caller)])

    @router.get("/openrouter/status", response_class=Json)
    async def openrouter_status(request: Request) -> Json:
        """`key_source`: `user`, `server` (with the user's consent) or `none`."""
        found = await key_vault.status(caller_of(request).user_id)
        keys = _keys_for(KeyService.OPENROUTER, found)
        return Json({**_sources(keys, found), **_cache(found)})

    @router.get("/api/providers/status", response_class=Json)
    async def providers_status(request: Request) -> Json:
        """The same for every service, with the statuses of the caller's own keys."""
        found = await key_vault.status(caller_of(request).user_id)
        return Json(
            {
                "items": [_view(_keys_for(service, found), found) for service in KeyService],
                **_cache(found),
                **consent_view(platform=found.allow_platform_fallback, gateway=found.allow_gateway_fallback),
            }
        )

    return router


def _keys_for(service: KeyService, found: KeyStatus) -> ServiceKeys:
    none = ServiceKeys(service=service, has_user_key=False, has_platform_key=False)
    return next((keys for keys in found.services if keys.service is service), none)


def _view(keys: ServiceKeys, found: KeyStatus) -> dict[str, Any]:
    return {"service": keys.service, **_sources(keys, found), "user_statuses": list(keys.user_statuses)}


def _sources(keys: ServiceKeys, found: KeyStatus) -> dict[str, Any]:
    return {
        "key_source": _key_source(keys, found),
        "has_server_key": keys.has_platform_key,
        "has_user_key": keys.has_user_key,
    }


def _key_source(keys: ServiceKeys, found: KeyStatus) -> str:
    if keys.has_user_key:
        return "user"
    return "server" if keys.has_platform_key and found.lends(keys.service) else "none"


def _cache(found: KeyStatus) -> dict[str, Any]:
    return {"cache_age_s": found.cache_age_s, "cache_size": found.cache_size}

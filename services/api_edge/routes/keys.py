"""`/api/keys`: a user's own provider keys. A key goes in; only its hint ever comes out."""

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import AliasChoices, Field, field_validator
from starlette.responses import Response

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.request_keys import usable_key
from services.api_edge.ports import KeyVault
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, body_docs, moment, read_body, read_id
from services.api_edge.use_cases.store_key import NewKey, StoreKeyUseCase
from shared.contracts.keys import Credential
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, holds_secret


class NewKeyBody(Input):
    service: KeyService
    api_key: SecretText
    label: str | None = Field(default=None, max_length=200)
    persist: Literal["vault", "session"] = "vault"
    base_url: str | None = Field(
        default=None, max_length=512, validation_alias=AliasChoices("baseUrl", "base_url")
    )

    @field_validator("label", "base_url")
    @classmethod
    def _is_no_key(cls, value: str | None) -> str | None:
        if value is not None and holds_secret(value):
            raise ValueError("a key in a field that is shown")
        return value


def keys_router(gate: Gate, store_key: StoreKeyUseCase, key_vault: KeyVault) -> APIRouter:
    router = APIRouter(prefix="/api/keys", tags=["keys"], dependencies=[BEARER, Depends(gate.signed_in)])

    @router.post("", status_code=201, response_class=Json, openapi_extra=body_docs(NewKeyBody))
    async def store(request: Request) -> Json:
        body = await read_body(request, NewKeyBody)
        if body.persist == "session":
            raise BadInputError("no_sessions_yet", "persist")
        key = usable_key(body.api_key.reveal(), "api_key")
        _check_hidden(key, label=body.label, baseUrl=body.base_url)
        new = NewKey(body.service, key, body.label, body.base_url)
        return Json(_view(await store_key(caller_of(request), new)), 201)

    @router.get("", response_class=Json)
    async def list_keys(request: Request) -> Json:
        found = await key_vault.list(caller_of(request).user_id)
        return Json({"items": [_view(credential) for credential in found.items], "next_cursor": None})

    @router.delete("/{credential_id}", status_code=204, response_class=Response)
    async def revoke(request: Request, credential_id: str) -> Response:
        await key_vault.revoke(caller_of(request).user_id, read_id(credential_id))
        return Response(status_code=204)

    return router


def _check_hidden(key: SecretText, **shown: str | None) -> None:
    """Raise BadInputError when the key stands in a field that comes out again."""
    for name, text in shown.items():
        if text is not None and key.reveal() in text:
            raise BadInputError("wrong_value", name)


def _view(credential: Credential) -> dict[str, Any]:
    return {
        "id": str(credential.id),
        "service": credential.service.value,
        "hint": credential.hint,
        "status": credential.status,
        "label": credential.label,
        "baseUrl": credential.base_url,
        "base_url": credential.base_url,
        "created_at": moment(credential.created_at),
    }

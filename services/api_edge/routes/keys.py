"""`/api/keys`: a user's own provider keys. A key goes in; only its hint ever comes out."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from services.api_edge.domain.entered_keys import entered_key
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.request_keys import SentKey
from services.api_edge.ports import KeyVault
from services.api_edge.routes.docs import body_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.key_bodies import ChangeKeyBody, NewKeyBody, ReplaceKeyBody, ValidateKeyBody
from services.api_edge.routes.wire import Json, moment, moment_or_none, read_body, read_id
from services.api_edge.use_cases.check_key import CheckKey
from services.api_edge.use_cases.issue_session import IssueSessionUseCase, NewSession
from services.api_edge.use_cases.replace_key import ReplaceKeyUseCase, Replacement
from services.api_edge.use_cases.store_key import NewKey, StoreKeyUseCase
from services.api_edge.use_cases.validate_stored_key import ValidateStoredKey
from shared.contracts.keys import Credential, UpdateKey
from shared.kernel.names import CredentialStatus, KeyService
from shared.kernel.secret import SecretText


@dataclass(frozen=True)
class KeyUseCases:
    store: StoreKeyUseCase
    issue_session: IssueSessionUseCase
    replace: ReplaceKeyUseCase
    check: CheckKey
    validate_stored: ValidateStoredKey


def keys_router(gate: Gate, use: KeyUseCases, key_vault: KeyVault) -> APIRouter:
    router = APIRouter(prefix="/api/keys", tags=["keys"], dependencies=[BEARER, Depends(gate.signed_in)])

    @router.post("", status_code=201, response_class=Json, openapi_extra=body_docs(NewKeyBody))
    async def store(request: Request) -> Json:
        """Ask the provider about a key and keep it; or, for a session, hand it back encrypted."""
        body = await read_body(request, NewKeyBody)
        entered = _entered(body.service, body.api_key, body.base_url, label=body.label)
        if body.persist == "session":
            return Json(_session_view(await use.issue_session(caller_of(request), entered)), 201)
        new = NewKey(entered, body.label or None, body.position)
        return Json(key_view(await use.store(caller_of(request), new)), 201)

    @router.post("/validate", response_class=Json, openapi_extra=body_docs(ValidateKeyBody))
    async def validate(request: Request) -> Json:
        """Ask the provider about a key, or about the stored one, whose status is written down."""
        body = await read_body(request, ValidateKeyBody)
        caller = caller_of(request)
        if body.api_key is None:
            found = await use.validate_stored(caller, body.service, body.base_url or None)
            return Json({"status": found.verdict, "id": str(found.credential.id)})
        return Json(
            {"status": await use.check.entered(caller, _entered(body.service, body.api_key, body.base_url))}
        )

    @router.get("", response_class=Json)
    async def list_keys(request: Request) -> Json:
        """By service, in the order they are tried."""
        found = await key_vault.list(caller_of(request).user_id)
        return Json({"items": [key_view(credential) for credential in found.items], "next_cursor": None})

    @router.put("/{credential_id}", response_class=Json, openapi_extra=body_docs(ReplaceKeyBody))
    async def replace(request: Request, credential_id: str) -> Json:
        """Put another key in this one's place. Runs that hold the old one go on with it."""
        body = await read_body(request, ReplaceKeyBody)
        key = entered_key(body.api_key, label=body.label, baseUrl=body.base_url)
        new = Replacement(
            read_id(credential_id),
            key,
            base_url=body.base_url or None,
            keeps_base_url="base_url" not in body.model_fields_set,
            label=_label(body),
        )
        return Json(key_view(await use.replace(caller_of(request), new)))

    @router.patch("/{credential_id}", response_class=Json, openapi_extra=body_docs(ChangeKeyBody))
    async def change(request: Request, credential_id: str) -> Json:
        """Label a key, take it out, put it back, or move it in the order."""
        body = await read_body(request, ChangeKeyBody)
        command = UpdateKey(
            credential_id=read_id(credential_id),
            user_id=caller_of(request).user_id,
            label=_label(body),
            position=body.position,
            status=None if body.status is None else CredentialStatus(body.status),
        )
        if command.label is None and command.position is None and command.status is None:
            raise BadInputError("nothing_given", "label, position, status")
        return Json(key_view(await key_vault.update(command)))

    @router.delete("/{credential_id}", status_code=204, response_class=Response)
    async def revoke(request: Request, credential_id: str) -> Response:
        await key_vault.revoke(caller_of(request).user_id, read_id(credential_id))
        return Response(status_code=204)

    return router


def _entered(
    service: KeyService, api_key: SecretText, base_url: str | None, *, label: str | None = None
) -> SentKey:
    if service is KeyService.GATEWAY and not base_url:
        raise BadInputError("required", "baseUrl")
    return SentKey(service, entered_key(api_key, label=label, baseUrl=base_url), base_url or None)


def _label(body: ReplaceKeyBody | ChangeKeyBody) -> str | None:
    """Return the label to write: "" removes it, None leaves it."""
    return (body.label or "") if "label" in body.model_fields_set else None


def key_view(credential: Credential) -> dict[str, Any]:
    return {
        "id": str(credential.id),
        "service": credential.service,
        "hint": credential.hint,
        "status": credential.status,
        "label": credential.label,
        "baseUrl": credential.base_url,
        "base_url": credential.base_url,
        "position": credential.position,
        "version": credential.version,
        "created_at": moment(credential.created_at),
        "updated_at": moment_or_none(credential.updated_at),
        "last_used_at": moment_or_none(credential.last_used_at),
        "status_changed_at": moment_or_none(credential.status_changed_at),
    }


def _session_view(new: NewSession) -> dict[str, Any]:
    issued = new.issued
    return {
        "session_key": issued.session_key,
        "service": issued.service,
        "hint": issued.hint,
        "status": new.verdict.status,
        "baseUrl": issued.base_url,
        "base_url": issued.base_url,
        "expires_at": moment(issued.expires_at),
    }

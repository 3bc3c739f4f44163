"""What an edge and a worker send key_vault about keys that are not stored, and about what runs used."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from services.key_vault.domain.platform import platform_key
from shared.contracts.keys import IssueSessionKey
from shared.contracts.resolving import KeyOpened, OpenKey
from shared.contracts.sealed import RequestKey, SealBinding, SealedKey
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import ProviderRateLimitedError, SystemKeyExhaustedError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource, Outcome
from shared.kernel.secret import SecretText
from shared.runtime.sealing import seal
from tests.fakes.key_vault_house import KEY, House, Worker, request_key, soon


def sealed_for(public_key: str, key: str, **binding: Any) -> SealedKey:
    """Seal as the edge does, of user `ada` for OpenAI unless told."""
    said = {"user_id": "ada", "service": KeyService.OPENAI, "expires_at": soon(), **binding}
    return seal(SecretText(key), public_key, SealBinding(**said))


def session_command(public_key: str, key: str = KEY, **fields: Any) -> IssueSessionKey:
    said = {"user_id": "ada", "service": KeyService.OPENAI, "base_url": None, **fields}
    return IssueSessionKey(sealed=sealed_for(public_key, key, purpose="session", **said), **said)


async def session_token(house: House, key: str = KEY, **fields: Any) -> str:
    command = session_command(house.pair.public_key, key, **fields)
    return (await house.handlers.on_issue_session(command)).session_key


def session_key(public_key: str, run_id: UUID, token: str, **fields: Any) -> RequestKey:
    """A session token sent with the run `run_id`."""
    return request_key(public_key, run_id, key=token, **fields)


def open_entered(public_key: str, worker: Worker, key: str = KEY, **fields: Any) -> OpenKey:
    """A worker's question for a key that was just entered."""
    said = {"user_id": "ada", "service": KeyService.OPENAI, "base_url": None, **fields}
    validation_id = new_id()
    sealed = sealed_for(public_key, key, purpose="validate", run_id=validation_id, **said)
    return OpenKey(
        validation_id=validation_id, sealed=sealed, worker_public_key=worker.pair.public_key, **said
    )


def open_stored(credential_id: UUID, worker: Worker, **fields: Any) -> OpenKey:
    said = {"user_id": "ada", "service": KeyService.OPENAI, **fields}
    return OpenKey(
        validation_id=new_id(),
        credential_id=credential_id,
        worker_public_key=worker.pair.public_key,
        **said,
    )


def opened(worker: Worker, answer: KeyOpened, query: OpenKey, **instead: Any) -> str:
    """Open what a worker was answered."""
    binding = SealBinding(
        purpose="open",
        run_id=query.validation_id,
        user_id=query.user_id,
        service=answer.service,
        base_url=answer.base_url,
        expires_at=answer.sealed.expires_at,
    )
    return worker.pair.open(answer.sealed, binding.model_copy(update=instead)).reveal()


def platform_id(service: KeyService, key: str) -> str:
    return platform_key(service, SecretText(key)).credential_id


def used(**fields: Any) -> UsageRecorded:
    """A usage event of a completed attempt with a stored key of the user's, unless told."""
    now = soon(0)
    said: dict[str, Any] = {
        "usage_id": new_id(),
        "run_id": new_id(),
        "attempt": 1,
        "user_id": "ada",
        "flow": "chat",
        "policy": KeyPolicy.USER_KEY_PREFERRED,
        "key_source": KeySource.USER,
        "service": KeyService.OPENAI,
        "provider": KeyService.OPENAI,
        "model": "openai/gpt-4o-mini",
        "stream": False,
        "outcome": Outcome.COMPLETED,
        "requested_at": now - timedelta(seconds=2),
        "started_at": now - timedelta(seconds=1),
        "finished_at": now,
        **fields,
    }
    return UsageRecorded(**said)


def refused(service: KeyService, key: str, **fields: Any) -> UsageRecorded:
    """A usage event of an attempt whose platform key its provider refused for good."""
    gateway = service is KeyService.GATEWAY
    said = {
        "key_source": KeySource.TEAM_GATEWAY if gateway else KeySource.PLATFORM,
        "service": service,
        "credential_id": platform_id(service, key),
        "outcome": Outcome.FAILED,
        "error_code": SystemKeyExhaustedError.code,
        **fields,
    }
    return used(**said)


def limited(
    service: KeyService, key: str, retry_after_s: float | None = None, **fields: Any
) -> UsageRecorded:
    """A usage event of an attempt whose platform key its provider rate limited."""
    code = ProviderRateLimitedError.code
    return refused(service, key, error_code=code, retry_after_s=retry_after_s, **fields)

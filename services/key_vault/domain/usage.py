"""What a usage event says of the key that was used."""

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from services.key_vault.domain.credentials import CredentialUse
from services.key_vault.domain.platform import PlatformMark, service_of
from shared.contracts.usage import UsageRecorded
from shared.kernel.errors import (
    ProviderRateLimitedError,
    SystemKeyExhaustedError,
    UserApiKeyExhaustedError,
    UserApiKeyInvalidError,
)
from shared.kernel.names import CredentialStatus, KeyService, Outcome, PlatformKeyState

COOLING_S: Final = 5.0
"""How long a rate limited key rests when its provider does not say."""
COOLING_S_MAX: Final = 86_400.0

_VERSION_MAX: Final = 2**31 - 1
"""What its column takes: one event of nonsense is not to stop the others in its batch."""
_FAILURES: Final = {
    UserApiKeyInvalidError.code: CredentialStatus.INVALID,
    UserApiKeyExhaustedError.code: CredentialStatus.NO_QUOTA,
}


def use_of(event: UsageRecorded) -> CredentialUse | None:
    """Return what a run found of a user's stored key; None when it says nothing of one."""
    status, credential_id, version = _status(event), _uuid(event.credential_id), event.credential_version
    if event.key_source is None or not event.key_source.is_stored:
        return None
    if status is None or credential_id is None or not version or not 0 < version <= _VERSION_MAX:
        return None
    return CredentialUse(credential_id, version, status, event.finished_at)


def mark_of(event: UsageRecorded) -> PlatformMark | None:
    """Return what speaks against a platform key from now on; None when nothing does."""
    service = service_of(event.credential_id or "")
    if service is None or event.key_source is None or event.key_source.is_byok:
        return None
    if event.outcome is not Outcome.FAILED:
        return None
    is_exhausted = event.error_code == SystemKeyExhaustedError.code
    if is_exhausted and event.retry_after_s is None:
        return _mark(event, service, PlatformKeyState.OUT, None)
    if is_exhausted or event.error_code == ProviderRateLimitedError.code:
        return _mark(event, service, PlatformKeyState.COOLING, event.finished_at + _rest(event.retry_after_s))
    return None


def _mark(
    event: UsageRecorded, service: KeyService, state: PlatformKeyState, until: datetime | None
) -> PlatformMark:
    credential_id, reason = event.credential_id or "", event.error_code or ""
    return PlatformMark(credential_id, service, state, until, reason, event.finished_at)


def _status(event: UsageRecorded) -> CredentialStatus | None:
    if event.outcome is Outcome.COMPLETED:
        return CredentialStatus.ACTIVE
    if event.outcome is not Outcome.FAILED:
        return None
    is_expired = event.error_detail == UserApiKeyInvalidError.EXPIRED
    return CredentialStatus.EXPIRED if is_expired else _FAILURES.get(event.error_code or "")


def _rest(retry_after_s: float | None) -> timedelta:
    asked = retry_after_s if retry_after_s is not None and retry_after_s > 0 else COOLING_S
    return timedelta(seconds=min(asked, COOLING_S_MAX))


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None

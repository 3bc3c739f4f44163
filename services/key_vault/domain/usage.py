"""What a usage event says of the key that was used."""

from datetime import timedelta
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
from shared.kernel.names import CredentialStatus, KeySource, Outcome, PlatformKeyState

COOLING_S: Final = 5.0
"""How long a rate limited key rests when its provider does not say."""
COOLING_S_MAX: Final = 86_400.0

_STORED: Final = (KeySource.USER, KeySource.USER_GATEWAY)
_FAILURES: Final = {
    UserApiKeyInvalidError.code: CredentialStatus.INVALID,
    UserApiKeyExhaustedError.code: CredentialStatus.NO_QUOTA,
}


def use_of(event: UsageRecorded) -> CredentialUse | None:
    """Return what a run found of a user's stored key; None when it says nothing of one."""
    status = _status(event)
    credential_id = _uuid(event.credential_id)
    if event.key_source not in _STORED or status is None or credential_id is None:
        return None
    if event.credential_version is None:
        return None
    return CredentialUse(credential_id, event.credential_version, status, event.finished_at)


def mark_of(event: UsageRecorded) -> PlatformMark | None:
    """Return what speaks against a platform key from now on; None when nothing does."""
    service = service_of(event.credential_id or "")
    if service is None or event.outcome is not Outcome.FAILED:
        return None
    at = event.finished_at
    if event.error_code == SystemKeyExhaustedError.code:
        reason, state, until = event.error_code, PlatformKeyState.OUT, None
    elif event.error_code == ProviderRateLimitedError.code:
        reason, state, until = event.error_code, PlatformKeyState.COOLING, at + _rest(event.retry_after_s)
    else:
        return None
    return PlatformMark(event.credential_id or "", service, state, until, reason, at)


def _status(event: UsageRecorded) -> CredentialStatus | None:
    if event.outcome is Outcome.COMPLETED:
        return CredentialStatus.ACTIVE
    return _FAILURES.get(event.error_code or "") if event.outcome is Outcome.FAILED else None


def _rest(retry_after_s: float | None) -> timedelta:
    asked = retry_after_s if retry_after_s is not None and retry_after_s > 0 else COOLING_S
    return timedelta(seconds=min(asked, COOLING_S_MAX))


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None

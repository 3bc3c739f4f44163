"""Falling back: which of the platform's keys may serve a run, and what is said when none may or can."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.key_vault.domain.ask import Ask
from services.key_vault.domain.credentials import Consent
from services.key_vault.domain.platform import PLATFORM_PREFIX, PlatformKey, PoolState, next_in_turn
from shared.kernel.errors import (
    ConsentRequiredError,
    PlatformError,
    SystemKeyExhaustedError,
    UserApiKeyInvalidError,
    UserApiKeyRequiredError,
)
from shared.kernel.key_order import platform_services
from shared.kernel.names import KeyPolicy, KeyService, PlatformKeyState

GATEWAY_WITHHELD: Final = "allowGatewayFallback"

Pools = Mapping[KeyService, PoolState]


@dataclass(frozen=True)
class Leave:
    """Which of the platform's keys may serve. `consent_id`: the decision this rests on, for a fallback."""

    platform: bool = True
    gateway: bool = True
    consent_id: str | None = None

    @classmethod
    def by(cls, consent: Consent) -> "Leave":
        return cls(consent.allow_platform, consent.allow_gateway, consent.consent_id)

    def covers(self, service: KeyService) -> bool:
        return self.gateway if service is KeyService.GATEWAY else self.platform


@dataclass(frozen=True)
class Lent:
    """Use this key of the platform's, or of the team's gateway."""

    key: PlatformKey
    base_url: str | None = None
    consent_id: str | None = None
    would_refuse_policy: KeyPolicy | None = None


@dataclass(frozen=True)
class LookInPool:
    """Look into the platform's pool for this service first."""

    service: KeyService


def lend(ask: Ask, leave: Leave, pools: Pools) -> Lent | LookInPool:
    """Name the platform's key to use, or the pool to look into first.

    Raises `consent_required`, `system_key_exhausted`; where the platform has no key at all and the user's own
    may serve, `user_api_key_required` or `user_api_key_invalid`.
    """
    for service in filter(leave.covers, platform_services(ask.provider)):
        if service not in pools:
            return LookInPool(service)
        if key := next_in_turn(pools[service], ask.excluding):
            return Lent(key, pools[service].base_url, leave.consent_id, _refused_by(ask))
    return _nothing(ask, leave, pools)


def _refused_by(ask: Ask) -> KeyPolicy | None:
    return KeyPolicy.USER_KEY_REQUIRED if ask.policy is KeyPolicy.USER_KEY_REQUIRED else None


def _nothing(ask: Ask, leave: Leave, pools: Pools) -> LookInPool:
    """Refuse, by what would help: consent only when it would be of use."""
    withheld = [service for service in platform_services(ask.provider) if not leave.covers(service)]
    if any(service is not KeyService.GATEWAY for service in withheld):
        raise _consent_required(ask)
    if withheld and KeyService.GATEWAY not in pools:
        return LookInPool(KeyService.GATEWAY)
    if withheld and _is_there(pools[KeyService.GATEWAY], ask):
        raise _consent_required(ask, GATEWAY_WITHHELD)
    if ask.takes_own_keys and not any(pool.keys for pool in pools.values()):
        raise no_own_key(ask)
    raise _exhausted(ask, pools)


def _is_there(pool: PoolState, ask: Ask) -> bool:
    return any(
        key.state is not PlatformKeyState.OUT and key.credential_id not in ask.excluding for key in pool.keys
    )


def _consent_required(ask: Ask, detail: str | None = None) -> PlatformError:
    message = "no usable key of your own, and falling back to the platform's is switched off"
    return ConsentRequiredError(message, service=ask.provider, detail=detail)


def _exhausted(ask: Ask, pools: Pools) -> PlatformError:
    """Name the last of the platform's services that has keys at all, and when the first of them is back."""
    pooled = [s for s in platform_services(ask.provider) if s is not KeyService.GATEWAY and pools[s].keys]
    service = pooled[-1] if pooled else ask.provider
    return SystemKeyExhaustedError.of(
        service, "the platform has no usable key", retry_after_s=_back_in_s(ask, pools)
    )


def _back_in_s(ask: Ask, pools: Pools) -> float | None:
    cooling = [key.mark.until for pool in pools.values() for key in pool.keys if key.mark and key.mark.until]
    return (min(cooling) - ask.at).total_seconds() if cooling else None


def no_own_key(ask: Ask) -> PlatformError:
    """Say which key of the user's would help, where no other can."""
    if any(not failed.startswith(PLATFORM_PREFIX) for failed in ask.excluding):
        return UserApiKeyInvalidError("your key was refused, and there is no other", service=ask.provider)
    return UserApiKeyRequiredError("this needs a key of your own", service=ask.provider)

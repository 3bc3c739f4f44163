"""Whose key a run uses: request, user's gateway, user's for the provider, user's OpenRouter, platform's.

Pure: given what the user and the platform have, and what already failed, it names one or refuses.
"""

from collections.abc import Collection, Sequence
from typing import Final

from services.key_vault.domain.credentials import Consent, OwnKeys, StoredCredential
from services.key_vault.domain.platform import PLATFORM_PREFIX
from shared.kernel.errors import (
    ConsentRequiredError,
    InvalidRequestError,
    PlatformError,
    SystemKeyExhaustedError,
    UserApiKeyInvalidError,
    UserApiKeyRequiredError,
)
from shared.kernel.names import KeyPolicy, KeyService, KeySource

REQUEST_CREDENTIAL: Final = "request"
"""The credential id of a key that came with the run."""

_OWN_KEY_POLICIES: Final = (KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED)


def takes_own_keys(policy: KeyPolicy) -> bool:
    return policy in _OWN_KEY_POLICIES


def own_services(provider: KeyService) -> tuple[KeyService, ...]:
    """Return the services whose user keys can call this provider's models, best first."""
    if provider is KeyService.GATEWAY:
        return (KeyService.GATEWAY,)
    return tuple(dict.fromkeys((KeyService.GATEWAY, provider, KeyService.OPENROUTER)))


def platform_services(provider: KeyService) -> tuple[KeyService, ...]:
    """Return the services whose platform keys can; a user's gateway is nobody else's to call."""
    if provider is KeyService.GATEWAY:
        return ()
    return tuple(dict.fromkeys((provider, KeyService.OPENROUTER)))


def takes_request_key(service: KeyService, provider: KeyService, excluding: Collection[str]) -> bool:
    """Say whether the key sent with the run is the one to use.

    One that can never serve this provider is refused: passing over it in silence would spend another key.
    """
    if service not in own_services(provider):
        raise InvalidRequestError(f"a key for {service} cannot call models of {provider}", service=provider)
    return REQUEST_CREDENTIAL not in excluding


def own_choice(own: OwnKeys, provider: KeyService, excluding: Collection[str]) -> StoredCredential | None:
    """Return the first of the user's credentials in order, the newest of its service."""
    usable = [credential for credential in own.credentials if credential.credential_id not in excluding]
    for service in own_services(provider):
        for credential in usable:
            if credential.place.service is service:
                return credential
    return None


def own_source(service: KeyService) -> KeySource:
    return KeySource.USER_GATEWAY if service is KeyService.GATEWAY else KeySource.USER


def check_fallback(
    policy: KeyPolicy, consent: Consent, provider: KeyService, excluding: Collection[str]
) -> None:
    """Raise what the caller must hear when, with no key of the user's left, the platform's may not serve."""
    if policy is KeyPolicy.USER_KEY_REQUIRED or not platform_services(provider):
        raise _no_own_key(provider, excluding)
    if not consent.allowed:
        raise ConsentRequiredError(
            "no usable key of your own, and falling back to the platform is switched off", service=provider
        )


def platform_exhausted(provider: KeyService, tried: Sequence[KeyService]) -> SystemKeyExhaustedError:
    """`tried`: the services the platform has keys for, all of them failed."""
    service = tried[-1] if tried else provider
    detail = "OPENROUTER_SYSTEM_KEY_EXHAUSTED" if service is KeyService.OPENROUTER else None
    return SystemKeyExhaustedError("the platform has no usable key", service=service, detail=detail)


def _no_own_key(provider: KeyService, excluding: Collection[str]) -> PlatformError:
    if any(not failed.startswith(PLATFORM_PREFIX) for failed in excluding):
        return UserApiKeyInvalidError("your key was refused, and there is no other", service=provider)
    return UserApiKeyRequiredError("this needs a key of your own", service=provider)

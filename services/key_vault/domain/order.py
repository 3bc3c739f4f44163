"""What a run asks for, and the order in which keys are tried for it.

Request, session, user's gateway, user's for the provider, user's OpenRouter; then the platform's for the
provider, the platform's OpenRouter, the team's gateway.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyPolicy, KeyService, KeySource

SENT: Final = (KeySource.REQUEST, KeySource.SESSION)
"""What may come with the run itself, best first. Such a key's source is its credential id, too."""

_OWN_KEY_POLICIES: Final = (KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED)


@dataclass(frozen=True)
class Ask:
    """What a run asks for, and when. `sent`: what came with it; `excluding`: ids of keys that failed."""

    policy: KeyPolicy
    provider: KeyService
    at: datetime
    report_only: bool = False
    sent: Collection[KeySource] = ()
    excluding: Collection[str] = ()

    @property
    def takes_own_keys(self) -> bool:
        return self.policy in _OWN_KEY_POLICIES

    @property
    def is_strict(self) -> bool:
        """Whether nothing but the user's own keys may serve."""
        return self.policy is KeyPolicy.USER_KEY_REQUIRED and not self.report_only


def own_services(provider: KeyService) -> tuple[KeyService, ...]:
    """Return the services whose user keys can call this provider's models, best first."""
    if provider is KeyService.GATEWAY:
        return (KeyService.GATEWAY,)
    return tuple(dict.fromkeys((KeyService.GATEWAY, provider, KeyService.OPENROUTER)))


def platform_services(provider: KeyService) -> tuple[KeyService, ...]:
    """Return the services whose platform keys can, best first; the gateway's is the team's."""
    if provider is KeyService.GATEWAY:
        return (KeyService.GATEWAY,)
    return tuple(dict.fromkeys((provider, KeyService.OPENROUTER, KeyService.GATEWAY)))


def own_source(service: KeyService) -> KeySource:
    return KeySource.USER_GATEWAY if service is KeyService.GATEWAY else KeySource.USER


def platform_source(service: KeyService) -> KeySource:
    return KeySource.TEAM_GATEWAY if service is KeyService.GATEWAY else KeySource.PLATFORM


def check_serves(service: KeyService, provider: KeyService) -> None:
    """Refuse a key sent with the run that can never serve it: passing over it would spend another."""
    if service not in own_services(provider):
        raise InvalidRequestError(f"a key for {service} cannot call models of {provider}", service=provider)

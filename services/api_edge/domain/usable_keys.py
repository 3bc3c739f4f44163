"""Which of a caller's keys could serve a model, in the order in which they are tried."""

from collections.abc import Iterator
from dataclasses import dataclass

from shared.contracts.keys import KeyStatus
from shared.kernel.names import KeyService, KeySource


@dataclass(frozen=True, slots=True)
class UsableKey:
    source: KeySource
    service: KeyService


def usable_keys(provider: KeyService, status: KeyStatus) -> tuple[UsableKey, ...]:
    """Return those that are there and allowed; the flow's policy may still leave some out."""
    return tuple(_usable(provider, status))


def _usable(provider: KeyService, status: KeyStatus) -> Iterator[UsableKey]:
    users = {keys.service for keys in status.services if keys.has_user_key}
    platforms = {keys.service for keys in status.services if keys.has_platform_key}
    routes = dict.fromkeys((provider, KeyService.OPENROUTER))
    if KeyService.GATEWAY in users:
        yield UsableKey(KeySource.USER_GATEWAY, KeyService.GATEWAY)
    yield from (UsableKey(KeySource.USER, service) for service in routes if service in users)
    if status.allow_platform_fallback:
        yield from (UsableKey(KeySource.PLATFORM, service) for service in routes if service in platforms)
    if status.allow_gateway_fallback and KeyService.GATEWAY in platforms:
        yield UsableKey(KeySource.TEAM_GATEWAY, KeyService.GATEWAY)

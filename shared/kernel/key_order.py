"""The order in which keys are tried for a run, after those that came with it, and whose they are.

User's gateway, user's for the provider, user's OpenRouter; then the platform's for the provider, the
platform's OpenRouter, the team's gateway. key_vault chooses by it, the edge tells what could serve a model.
"""

from shared.kernel.names import KeyService, KeySource


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

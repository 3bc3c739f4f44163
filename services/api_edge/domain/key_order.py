"""Which services' keys can call a provider's models, best first.

The rule is key_vault's (`services/key_vault/domain/order.py`); a test holds the two equal.
"""

from shared.kernel.names import KeyService


def own_services(provider: KeyService) -> tuple[KeyService, ...]:
    """Return the services whose keys of the user's can. A gateway's own models only a gateway has."""
    if provider is KeyService.GATEWAY:
        return (KeyService.GATEWAY,)
    return tuple(dict.fromkeys((KeyService.GATEWAY, provider, KeyService.OPENROUTER)))


def platform_services(provider: KeyService) -> tuple[KeyService, ...]:
    """Return the services whose platform keys can; the gateway's is the team's."""
    if provider is KeyService.GATEWAY:
        return (KeyService.GATEWAY,)
    return tuple(dict.fromkeys((provider, KeyService.OPENROUTER, KeyService.GATEWAY)))

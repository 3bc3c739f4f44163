"""Which services' keys can call a provider's models, best first.

The rule is key_vault's (`services/key_vault/domain/order.py`); a test holds the two equal.
"""

from shared.kernel.names import KeyService


def own_services(provider: KeyService) -> tuple[KeyService, ...]:
    """Return the services whose keys of the user's can."""
    if provider is KeyService.GATEWAY:
        return (KeyService.GATEWAY,)
    return tuple(dict.fromkeys((KeyService.GATEWAY, provider, KeyService.OPENROUTER)))

"""Platform keys in the environment: `OPENAI_API_KEY`, `OPENAI_API_KEYS` (JSON array), … per service.

The team gateway's are `AI_GATEWAY_API_KEY(S)` (or `GATEWAY_…`), its address is `AI_GATEWAY_URL`.
"""

import json
from collections.abc import Mapping

from infra.bootstrap.realm import BootstrapError
from shared.kernel.base_url import is_trusted_url
from shared.kernel.names import KeyService

_PREFIXES = {KeyService.GATEWAY: ("AI_GATEWAY", "GATEWAY")}
_GATEWAY_URL = "AI_GATEWAY_URL"


def platform_keys_from(environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return each service's keys, those of the array first; services without any are left out."""
    found = {str(service): _keys_of(environ, service) for service in KeyService}
    return {service: keys for service, keys in found.items() if keys}


def gateway_url_from(environ: Mapping[str, str]) -> str | None:
    """Return the team gateway's address. Raises BootstrapError for what is no plain http(s) address."""
    url = environ.get(_GATEWAY_URL, "").strip()
    if url and not is_trusted_url(url):
        raise BootstrapError(f"{_GATEWAY_URL} is not an address like https://gateway.example.com/v1")
    return url or None


def _keys_of(environ: Mapping[str, str], service: KeyService) -> tuple[str, ...]:
    prefixes = _PREFIXES.get(service, (service.upper(),))
    return tuple(dict.fromkeys(key for prefix in prefixes for key in _keys(environ, prefix)))


def _keys(environ: Mapping[str, str], prefix: str) -> tuple[str, ...]:
    single = environ.get(f"{prefix}_API_KEY", "").strip()
    pool = _array(environ.get(f"{prefix}_API_KEYS", "").strip() or "[]", f"{prefix}_API_KEYS")
    return tuple(key for key in (*pool, single) if key)


def _array(text: str, name: str) -> list[str]:
    try:
        keys = json.loads(text)
    except json.JSONDecodeError:
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BootstrapError(f"{name} is not a JSON array of strings")
    return [key.strip() for key in keys]

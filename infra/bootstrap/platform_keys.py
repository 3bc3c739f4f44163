"""Platform keys in the environment, per service: `OPENAI_API_KEY`, `OPENAI_API_KEYS` (JSON array)."""

import json
from collections.abc import Mapping

from infra.bootstrap.realm import BootstrapError
from shared.kernel.names import KeyService


def platform_keys_from(environ: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return each service's keys, those of the array first; services without any are left out."""
    found = {str(service): _keys(environ, str(service).upper()) for service in KeyService}
    return {service: keys for service, keys in found.items() if keys}


def _keys(environ: Mapping[str, str], prefix: str) -> tuple[str, ...]:
    single = environ.get(f"{prefix}_API_KEY", "").strip()
    pool = _array(environ.get(f"{prefix}_API_KEYS", "").strip() or "[]", f"{prefix}_API_KEYS")
    return tuple(dict.fromkeys(key for key in (*pool, single) if key))


def _array(text: str, name: str) -> list[str]:
    try:
        keys = json.loads(text)
    except json.JSONDecodeError:
        keys = None
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise BootstrapError(f"{name} is not a JSON array of strings")
    return [key.strip() for key in keys]

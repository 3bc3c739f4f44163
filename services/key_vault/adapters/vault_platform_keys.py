"""The platform's keys in KV v2, put there by ops: `platform/<service>` with `api_key` or `api_keys`."""

from collections.abc import Mapping
from typing import Any

import orjson

from shared.kernel.errors import InvalidRequestError, NotFoundError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, is_provider_key
from shared.runtime.logs import get_logger
from shared.runtime.vault import VaultClient, vault_unavailable


class VaultPlatformKeys:
    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._vault = vault
        self._mount = mount

    async def keys(self, service: KeyService) -> tuple[SecretText, ...]:
        """Read afresh every time: what ops put there or take away holds at once."""
        try:
            answer = await self._vault.call(
                lambda client: client.secrets.kv.v2.read_secret_version(
                    f"platform/{service}", mount_point=self._mount, raise_on_deleted_version=True
                )
            )
        except NotFoundError:
            return ()
        except InvalidRequestError:  # a new KV v2 mount answers 400 while it sets itself up
            raise vault_unavailable() from None
        return _pool(service, answer["data"]["data"])


def _pool(service: KeyService, data: Mapping[str, Any]) -> tuple[SecretText, ...]:
    """Return the keys in order, once each; what cannot be a key is left out, and a pool without any told.

    Whitespace around a key is a newline from a file or a shell: it is no part of it.
    """
    found = [*_listed(data.get("api_keys")), data.get("api_key")]
    texts = [item.strip() for item in found if isinstance(item, str)]
    keys = tuple(key for key in map(SecretText, dict.fromkeys(texts)) if is_provider_key(key))
    if not keys:
        get_logger().warning("platform keys unreadable", key_service=service)
    return keys


def _listed(value: object) -> list[object]:
    """Return a list's items; `vault kv put … api_keys='["a", "b"]'` (or `a,b`) stores a string."""
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        return []
    try:
        return _listed(orjson.loads(value))
    except orjson.JSONDecodeError:
        return list(value.split(","))

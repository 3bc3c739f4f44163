"""The platform's keys in KV v2, put there by ops: `platform/<service>` with `api_key` or `api_keys`.

The team's gateway is `platform/gateway`, with its `base_url` beside the keys.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import orjson

from services.key_vault.domain.platform import PlatformPool
from shared.kernel.base_url import is_trusted_url
from shared.kernel.errors import InvalidRequestError, NotFoundError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, is_provider_key
from shared.runtime.logs import get_logger
from shared.runtime.vault import VaultClient, vault_unavailable


class VaultPlatformKeys:
    def __init__(self, vault: VaultClient, *, mount: str) -> None:
        self._vault = vault
        self._mount = mount

    async def pool(self, service: KeyService) -> PlatformPool:
        """Read afresh every time: what ops put there or take away holds at once."""
        try:
            answer = await self._vault.call(
                lambda client: client.secrets.kv.v2.read_secret_version(
                    f"platform/{service}", mount_point=self._mount, raise_on_deleted_version=True
                )
            )
        except NotFoundError:
            return PlatformPool()
        except InvalidRequestError:  # a new KV v2 mount answers 400 while it sets itself up
            raise vault_unavailable() from None
        secret = answer["data"]
        return _pool(service, secret["data"], datetime.fromisoformat(secret["metadata"]["created_time"]))


def _pool(service: KeyService, data: Mapping[str, Any], written_at: datetime) -> PlatformPool:
    """Return the keys in order, once each; what cannot be used is left out, and a pool without any told.

    Whitespace around a key is a newline from a file or a shell: it is no part of it.
    """
    found = [*_listed(data.get("api_keys")), data.get("api_key")]
    texts = [item.strip() for item in found if isinstance(item, str)]
    keys = tuple(key for key in map(SecretText, dict.fromkeys(texts)) if is_provider_key(key))
    base_url = data.get("base_url") if service is KeyService.GATEWAY else None
    if not keys or not _is_address(base_url):
        get_logger().warning("platform keys unreadable", key_service=service)
        return PlatformPool(written_at=written_at)
    return PlatformPool(keys, base_url.strip() if base_url else None, written_at)


def _is_address(base_url: object) -> bool:
    """A team's key goes to the address that was written beside it, or nowhere; none is the usual one."""
    if base_url is None:
        return True
    return isinstance(base_url, str) and is_trusted_url(base_url.strip())


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

"""Many ciphertexts in one request to Vault Transit."""

from collections.abc import Sequence
from typing import Any, Final

from shared.kernel.errors import InvalidRequestError
from shared.runtime.vault import VaultClient

_AT_ONCE: Final = 100
"""OpenBao takes a thousand strings a request, names counted too: six an item. Both take 32 MiB."""

Item = dict[str, str]


class TransitBatch:
    """`path`: with `{}` for the operation. Items have `context` and `associated_data` of their own."""

    def __init__(self, vault: VaultClient, *, path: str) -> None:
        self._vault = vault
        self._path = path

    async def encrypt(self, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Return `ciphertext` and `key_version` of each item's `plaintext`. Raises InvalidRequestError."""
        return [result for part in _parts(items) for result in await self._write("encrypt", part)]

    async def decrypt(self, items: Sequence[Item]) -> list[str | None]:
        """Return the plaintexts as base64, None for what does not decrypt."""
        return [text for part in _parts(items) for text in await self._plain(part)]

    async def _plain(self, items: Sequence[Item]) -> list[str | None]:
        try:
            results = await self._write("decrypt", items)
        except InvalidRequestError:  # not one of them decrypts, or they are too many for this server
            if len(items) == 1:
                return [None]
            half = len(items) // 2
            return [*await self._plain(items[:half]), *await self._plain(items[half:])]
        return [None if result.get("error") else result["plaintext"] for result in results]

    async def _write(self, operation: str, items: Sequence[Item]) -> list[dict[str, Any]]:
        data = {"batch_input": list(items), "partial_failure_response_code": 200}
        answer: Any = await self._vault.call(
            lambda client: client.write_data(self._path.format(operation), data=data)
        )
        results: list[dict[str, Any]] = answer["data"]["batch_results"]
        return results


def _parts(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE)]

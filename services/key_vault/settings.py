"""The settings of key_vault, from `LATCHKEY_…`."""

from pydantic import Field

from shared.runtime.settings import ServiceSettings, VaultSettings


class KeyVaultSettings(VaultSettings, ServiceSettings):
    """`session_key_ttl_s`: for how many seconds a session key is good."""

    session_key_ttl_s: int = Field(default=43_200, ge=1, le=31_536_000)

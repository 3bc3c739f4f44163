"""What administrators ask key_vault about the platform's own keys."""

from pydantic import AwareDatetime, Field

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request
from shared.kernel.lengths import CREDENTIAL_ID_CHARS_MAX
from shared.kernel.names import (
    KeyService,
    PlatformKeyState,
)


class ListPlatformKeys(Request):
    """The platform's keys and how they stand. Answered with `PlatformKeys`."""

    ROUTING_KEY = "key_vault.platform_keys.v1"


class PlatformKeyInfo(Answer):
    """One key of a platform pool. `until`: when its cooling ends; `reason`: the code it failed with."""

    credential_id: str
    service: KeyService
    hint: str
    state: PlatformKeyState
    until: AwareDatetime | None = None
    reason: str | None = None
    changed_at: AwareDatetime | None = None


class PlatformKeys(Answer):
    items: tuple[PlatformKeyInfo, ...]


class MendPlatformKey(Request):
    """Makes a platform key ready again. Raises `not_found`."""

    ROUTING_KEY = "key_vault.mend_platform_key.v1"

    credential_id: str = Field(max_length=CREDENTIAL_ID_CHARS_MAX)

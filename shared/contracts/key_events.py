"""Events of key_vault: what changed about keys and consent. Caches heed them, auditors read them."""

from uuid import UUID

from shared.contracts.message import Message
from shared.kernel.names import CredentialStatus, KeyService


class _KeyEvent(Message):
    EXCHANGE = "keys"

    user_id: str


class KeyStored(_KeyEvent):
    """A credential was added, replaced (`version` > 1) or changed."""

    ROUTING_KEY = "key.stored.v1"

    credential_id: UUID
    service: KeyService
    version: int
    status: CredentialStatus


class KeyRevoked(_KeyEvent):
    """A credential was destroyed: whoever holds its key stops using it, at once.

    Told several times within half a minute, with one id, for whoever did not hear it the first time.
    """

    ROUTING_KEY = "key.revoked.v1"

    credential_id: UUID


class ConsentChanged(_KeyEvent):
    """A user has decided anew what may be fallen back to."""

    ROUTING_KEY = "consent.changed.v1"

    consent_id: str
    allow_platform_fallback: bool
    allow_gateway_fallback: bool

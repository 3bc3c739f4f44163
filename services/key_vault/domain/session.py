"""Session keys: `lks_…` tokens that hold a key's ciphertext; nothing of them is stored."""

from dataclasses import dataclass
from datetime import datetime

from shared.kernel.names import KeyService


@dataclass(frozen=True)
class SessionClaims:
    """What a session token says in the clear, and its ciphertext is bound to."""

    user_id: str
    service: KeyService
    base_url: str | None
    expires_at: datetime

"""Seal a client's key to key_vault, bound to the one thing it is sent for."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from services.api_edge.domain.request_keys import SentKey
from services.api_edge.ports import Sealer
from shared.contracts.sealed import SEALED_FOR, SealBinding, SealedKey

Purpose = Literal["store", "request", "session", "validate"]


def seal_key(
    sealer: Sealer,
    sent: SentKey,
    purpose: Purpose,
    *,
    user_id: str,
    credential_id: UUID | None = None,
    run_id: UUID | None = None,
    now: datetime | None = None,
) -> SealedKey:
    """Raise VaultUnavailableError while key_vault's public key is not known.

    `run_id`: the run's, or the validation's. `credential_id`: whose place the key is to take.
    """
    binding = SealBinding(
        purpose=purpose,
        user_id=user_id,
        service=sent.service,
        expires_at=(now or datetime.now(UTC)) + SEALED_FOR,
        credential_id=None if credential_id is None else str(credential_id),
        run_id=run_id,
        base_url=sent.base_url,
    )
    return sealer.seal(sent.key, binding)

"""A stored credential as people may see it."""

from services.key_vault.domain.credentials import StoredCredential
from shared.contracts.keys import Credential


def describe(stored: StoredCredential) -> Credential:
    return Credential(
        id=stored.place.credential_id,
        service=stored.place.service,
        hint=stored.hint,
        label=stored.label,
        base_url=stored.place.base_url,
        status="active",
        created_at=stored.created_at,
    )

"""A stored credential as people may see it, and as an event tells it."""

from services.key_vault.domain.credentials import StoredCredential
from shared.contracts.key_events import KeyStored
from shared.contracts.keys import Credential


def describe(stored: StoredCredential) -> Credential:
    return Credential(
        id=stored.place.credential_id,
        service=stored.place.service,
        hint=stored.hint,
        label=stored.label,
        base_url=stored.place.base_url,
        status=stored.status,
        created_at=stored.created_at,
        version=stored.place.version,
        position=stored.position,
        status_changed_at=stored.status_changed_at,
        last_used_at=stored.last_used_at,
        updated_at=stored.updated_at,
    )


def key_stored(stored: StoredCredential) -> KeyStored:
    return KeyStored(
        user_id=stored.place.user_id,
        credential_id=stored.place.credential_id,
        service=stored.place.service,
        version=stored.place.version,
        status=stored.status,
    )

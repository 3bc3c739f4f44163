"""A stored credential as people may see it."""

from services.key_vault.domain.credentials import StoredCredential
from shared.contracts.keys import Credential
from shared.kernel.names import CredentialStatus


def describe(stored: StoredCredential) -> Credential:
    return Credential(
        id=stored.place.credential_id,
        service=stored.place.service,
        hint=stored.hint,
        label=stored.label,
        base_url=stored.place.base_url,
        status=CredentialStatus.ACTIVE,
        created_at=stored.created_at,
    )

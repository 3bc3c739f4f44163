"""Revoking credentials: who holds their keys hears of it."""

import asyncio
from collections.abc import Iterable
from uuid import UUID

from services.key_vault.ports import KeyEvents
from shared.contracts.key_events import KeyRevoked


async def tell_revoked(key_events: KeyEvents, user_id: str, credential_ids: Iterable[UUID]) -> None:
    events = [KeyRevoked(user_id=user_id, credential_id=credential_id) for credential_id in credential_ids]
    await asyncio.gather(*map(key_events.tell, events))

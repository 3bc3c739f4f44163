"""Note what runs found of the keys they used."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.key_vault.domain.credentials import CredentialUse
from services.key_vault.domain.platform import PlatformMark
from services.key_vault.domain.usage import mark_of, use_of
from services.key_vault.ports import CredentialStore, PlatformMarks
from shared.contracts.usage import UsageRecorded


@dataclass(frozen=True)
class Noted:
    uses: Sequence[CredentialUse]
    marks: Sequence[PlatformMark]


class NoteUsageUseCase:
    def __init__(self, *, store: CredentialStore, marks: PlatformMarks) -> None:
        self._store = store
        self._marks = marks

    async def __call__(self, events: Sequence[UsageRecorded]) -> Noted:
        """Raise `database_unavailable`: all of it may be noted again."""
        noted = Noted(
            uses=[use for event in events if (use := use_of(event))],
            marks=[mark for event in events if (mark := mark_of(event))],
        )
        if noted.uses:
            await self._store.note_uses(noted.uses)
        if noted.marks:
            await self._marks.mark(noted.marks)
        return noted

"""key_vault's tables in memory. `fails` makes every call raise, as when Postgres is away."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from services.key_vault.domain.credentials import (
    CREDENTIALS_PER_USER_MAX,
    DEFAULT_CONSENT,
    Ciphertext,
    Consent,
    CredentialChange,
    CredentialUse,
    NewCredential,
    OwnKeys,
    StoredCredential,
)
from shared.kernel.errors import ConflictError, DatabaseUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import CredentialStatus, KeyService


class Failing:
    def __init__(self) -> None:
        self.fails: Exception | None = None
        self.calls = 0

    def called(self) -> None:
        self.calls += 1
        if self.fails is not None:
            raise self.fails


class InMemoryConsentStore(Failing):
    def __init__(self) -> None:
        super().__init__()
        self.decided: dict[str, list[Consent]] = {}

    def now_of(self, user_id: str) -> Consent:
        return self.decided.get(user_id, [DEFAULT_CONSENT])[-1]

    async def consent(self, user_id: str) -> Consent:
        self.called()
        return self.now_of(user_id)

    async def decide(
        self, user_id: str, *, allow_platform: bool | None, allow_gateway: bool | None
    ) -> Consent:
        self.called()
        before = self.now_of(user_id)
        decision = Consent(
            before.allow_platform if allow_platform is None else allow_platform,
            before.allow_gateway if allow_gateway is None else allow_gateway,
            str(new_id()),
            datetime.now(UTC),
        )
        self.decided.setdefault(user_id, []).append(decision)
        return decision


@dataclass
class _Row:
    stored: StoredCredential
    fingerprint: str
    key_version: int
    said_at: datetime | None = None


class InMemoryCredentialStore(Failing):
    """`loses_answers`: what it destroys is gone, but nobody hears of it; `refuses`: it destroys nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.loses_answers = False
        self.refuses = False
        self.consents = InMemoryConsentStore()
        self._rows: dict[UUID, _Row] = {}

    async def add(self, new: NewCredential) -> StoredCredential:
        self.called()
        place = new.place
        if same := self._same(new):
            return same.stored
        if place.credential_id in self._rows or len(self._of(place.user_id)) >= CREDENTIALS_PER_USER_MAX:
            raise ConflictError
        now = datetime.now(UTC)
        stored = StoredCredential(
            place, new.ciphertext.text, new.hint, new.label, now, status=new.status, updated_at=now
        )
        self._rows[place.credential_id] = _Row(stored, new.fingerprint, new.ciphertext.key_version)
        return stored

    async def own_keys(self, user_id: str, services: Collection[KeyService]) -> OwnKeys:
        self.called()
        own = tuple(
            stored
            for stored in self._of(user_id)
            if stored.place.service in services and stored.status is not CredentialStatus.INACTIVE
        )
        return OwnKeys(own, self.consents.now_of(user_id))

    async def all_of(self, user_id: str) -> tuple[StoredCredential, ...]:
        self.called()
        return tuple(sorted(self._of(user_id), key=lambda stored: stored.place.service))

    async def find(self, user_id: str, credential_id: UUID) -> StoredCredential | None:
        self.called()
        row = self._row(user_id, credential_id)
        return row.stored if row else None

    async def replace(self, new: NewCredential) -> StoredCredential | None:
        self.called()
        row = self._row(new.place.user_id, new.place.credential_id)
        if row is None or replace(row.stored.place, base_url=None) != replace(
            new.place, base_url=None, version=new.place.version - 1
        ):
            return None
        if (same := self._same(new)) and same is not row:
            raise ConflictError
        row.fingerprint, row.key_version = new.fingerprint, new.ciphertext.key_version
        return self._set(
            row, new.status, place=new.place, ciphertext=new.ciphertext.text, hint=new.hint, last_used_at=None
        )

    async def update(
        self, user_id: str, credential_id: UUID, change: CredentialChange
    ) -> StoredCredential | None:
        self.called()
        row = self._row(user_id, credential_id)
        if row is None:
            return None
        old = row.stored
        label = old.label if change.label is None else change.label or None
        position = old.position if change.position is None else change.position
        status = _said(change, old)
        if status not in {None, old.status} and old.status is CredentialStatus.INACTIVE:
            woken = status or old.status
            row.stored = replace(old, status=woken, status_changed_at=datetime.now(UTC))
        return self._set(row, status, label=label, position=position)

    async def remove(self, user_id: str, credential_id: UUID) -> bool:
        self._check_writable()
        row = self._row(user_id, credential_id)
        is_gone = row is not None and self._rows.pop(credential_id) is row
        self._answer()
        return is_gone

    async def remove_all(self, user_id: str, service: KeyService | None) -> tuple[UUID, ...]:
        self._check_writable()
        gone = [stored.place for stored in self._of(user_id) if service in {None, stored.place.service}]
        for place in gone:
            del self._rows[place.credential_id]
        self._answer()
        return tuple(place.credential_id for place in gone)

    def _check_writable(self) -> None:
        self.called()
        if self.refuses:
            raise DatabaseUnavailableError(service="postgres")

    def _answer(self) -> None:
        if self.loses_answers:
            raise DatabaseUnavailableError(service="postgres")

    async def note_uses(self, uses: Sequence[CredentialUse]) -> None:
        self.called()
        for use in uses:
            row = self._rows.get(use.credential_id)
            if row is not None and row.stored.place.version == use.version:
                _note(row, use)

    async def encrypted_before(self, key_version: int, limit: int) -> tuple[StoredCredential, ...]:
        self.called()
        rows = sorted(self._before(key_version), key=lambda row: (row.key_version, row.stored.credential_id))
        return tuple(row.stored for row in rows[:limit])

    async def count_before(self, key_version: int) -> int:
        self.called()
        return len(list(self._before(key_version)))

    async def rewrap(self, rewrapped: Sequence[tuple[StoredCredential, Ciphertext]]) -> int:
        self.called()
        changed = 0
        for old, new in rewrapped:
            row = self._rows.get(old.place.credential_id)
            if row is not None and row.stored.ciphertext == old.ciphertext:
                row.stored, row.key_version = replace(row.stored, ciphertext=new.text), new.key_version
                changed += 1
        return changed

    def _set(self, row: _Row, status: CredentialStatus | None, **changed: object) -> StoredCredential:
        now, old = datetime.now(UTC), row.stored
        row.stored = replace(old, updated_at=now, **changed)  # type: ignore[arg-type]
        if status is not None:
            row.said_at = now
            if old.status not in {status, CredentialStatus.INACTIVE}:
                row.stored = replace(row.stored, status=status, status_changed_at=now)
        return row.stored

    def _row(self, user_id: str, credential_id: UUID) -> _Row | None:
        row = self._rows.get(credential_id)
        return row if row is not None and row.stored.place.user_id == user_id else None

    def _same(self, new: NewCredential) -> _Row | None:
        place = new.place
        for row in self._rows.values():
            at = row.stored.place
            if (at.user_id, at.service, row.fingerprint) == (place.user_id, place.service, new.fingerprint):
                return row
        return None

    def _before(self, key_version: int) -> Iterable[_Row]:
        return (row for row in self._rows.values() if row.key_version < key_version)

    def _of(self, user_id: str) -> list[StoredCredential]:
        own = [row.stored for row in self._rows.values() if row.stored.place.user_id == user_id]
        newest = sorted(own, key=_age, reverse=True)
        return sorted(newest, key=lambda stored: stored.position)


def _age(stored: StoredCredential) -> tuple[datetime, str]:
    return stored.created_at, stored.credential_id


def _said(change: CredentialChange, old: StoredCredential) -> CredentialStatus | None:
    """Return the status to set; None when it was said of another version, or of one taken out since."""
    if change.status_of_version is None:
        return change.status
    is_meant = change.status_of_version == old.place.version and old.status is not CredentialStatus.INACTIVE
    return change.status if is_meant else None


def _note(row: _Row, use: CredentialUse) -> None:
    old = row.stored
    if use.status is CredentialStatus.ACTIVE:
        row.stored = replace(row.stored, last_used_at=max(old.last_used_at or use.at, use.at))
    if row.said_at is not None and use.at < row.said_at:
        return
    row.said_at = use.at
    if old.status not in {use.status, CredentialStatus.INACTIVE}:
        row.stored = replace(row.stored, status=use.status, status_changed_at=use.at)

"""What the credential store promises, held by the fake and by Postgres."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.key_vault.adapters.postgres_store import PostgresCredentialStore
from services.key_vault.domain.credentials import (
    CREDENTIALS_PER_USER_MAX,
    Ciphertext,
    CredentialChange,
    CredentialUse,
    NewCredential,
    Place,
    StoredCredential,
)
from services.key_vault.ports import CredentialStore
from shared.kernel.errors import ConflictError, DatabaseUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KEY_VAULT, CredentialStatus, KeyService
from tests.fakes.key_vault_store import InMemoryCredentialStore
from tests.realm import PoolFor

pytestmark = pytest.mark.conformance

_SERVICES = tuple(KeyService)


@pytest.fixture
def user() -> str:
    return f"user-{uuid4().hex}"


def a_credential(
    user: str,
    fingerprint: str = "AAAA",
    *,
    credential_id: UUID | None = None,
    service: KeyService = KeyService.OPENAI,
    base_url: str | None = None,
    status: CredentialStatus = CredentialStatus.ACTIVE,
) -> NewCredential:
    place = Place(user, credential_id or new_id(), service, base_url)
    return NewCredential(
        place, Ciphertext("vault:v1:AAAA", 1), f"vault:v1:{fingerprint}", "sk-…1f9c", "laptop", status
    )


def a_successor(old: StoredCredential, fingerprint: str = "BBBB", **place: Any) -> NewCredential:
    """Another key for a credential's place."""
    after = replace(old.place, **{"version": old.place.version + 1, **place})
    return NewCredential(
        after, Ciphertext("vault:v2:BBBB", 2), f"vault:v1:{fingerprint}", "sk-…2222", "ignored"
    )


def moment(seconds: float = 0) -> datetime:
    """A time that many seconds after a fixed one, later than what the stores do by themselves."""
    return datetime(2100, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def use(of: StoredCredential, status: CredentialStatus, seconds: float = 0) -> CredentialUse:
    return CredentialUse(of.place.credential_id, of.place.version, status, moment(seconds))


async def found(store: CredentialStore, one: StoredCredential) -> StoredCredential:
    again = await store.find(one.place.user_id, one.place.credential_id)
    assert again is not None
    return again


class StoreContract:
    async def test_what_was_added_is_there(self, store: CredentialStore, user: str) -> None:
        new = a_credential(user, service=KeyService.GATEWAY, base_url="https://gateway.example/v1")
        stored = await store.add(new)
        assert (stored.place, stored.ciphertext, stored.hint, stored.label) == (
            new.place,
            "vault:v1:AAAA",
            "sk-…1f9c",
            "laptop",
        )
        assert stored.created_at.tzinfo is not None
        assert await store.all_of(user) == (stored,)
        assert (await store.own_keys(user, _SERVICES)).credentials == (stored,)

    async def test_an_equal_key_is_the_credential_already_there(
        self, store: CredentialStore, user: str
    ) -> None:
        first = await store.add(a_credential(user))
        assert await store.add(a_credential(user)) == first
        assert await store.add(a_credential(user, credential_id=first.place.credential_id)) == first
        assert await store.all_of(user) == (first,)

    async def test_another_user_service_or_key_is_another_credential(
        self, store: CredentialStore, user: str
    ) -> None:
        first = await store.add(a_credential(user))
        others = [
            await store.add(a_credential(f"{user}-2")),
            await store.add(a_credential(user, service=KeyService.GROQ)),
            await store.add(a_credential(user, "BBBB")),
        ]
        assert first not in others
        assert len(await store.all_of(user)) == 3

    async def test_equal_keys_at_once_are_one_credential(self, store: CredentialStore, user: str) -> None:
        stored = await asyncio.gather(*(store.add(a_credential(user)) for _ in range(12)))
        assert len({one.credential_id for one in stored}) == 1
        assert len(await store.all_of(user)) == 1

    async def test_a_taken_id_is_a_conflict(self, store: CredentialStore, user: str) -> None:
        first = await store.add(a_credential(user))
        with pytest.raises(ConflictError):
            await store.add(a_credential(user, "BBBB", credential_id=first.place.credential_id))
        with pytest.raises(ConflictError):
            await store.add(a_credential(f"{user}-2", credential_id=first.place.credential_id))
        assert await store.all_of(user) == (first,)

    async def test_there_is_a_limit_per_user(self, store: CredentialStore, user: str) -> None:
        for number in range(CREDENTIALS_PER_USER_MAX):
            await store.add(a_credential(user, f"{number:04}"))
        with pytest.raises(ConflictError):
            await store.add(a_credential(user, "BBBB"))
        await store.add(a_credential(user, "0000"))
        await store.add(a_credential(f"{user}-2", "BBBB"))
        newest = (await store.all_of(user))[0]
        assert await store.remove(user, newest.place.credential_id)
        await store.add(a_credential(user, "BBBB"))

    async def test_the_limit_holds_for_many_at_once(self, store: CredentialStore, user: str) -> None:
        for number in range(CREDENTIALS_PER_USER_MAX - 1):
            await store.add(a_credential(user, f"{number:04}"))
        await asyncio.gather(*(store.all_of(user) for _ in range(8)))  # so many connections are there
        at_once = [store.add(a_credential(user, f"BBB{number}")) for number in range(8)]
        told = await asyncio.gather(*at_once, return_exceptions=True)
        assert sum(isinstance(one, ConflictError) for one in told) == 7
        assert len(await store.all_of(user)) == CREDENTIALS_PER_USER_MAX

    async def test_the_newest_comes_first(self, store: CredentialStore, user: str) -> None:
        added = [await store.add(a_credential(user, f"{number:04}")) for number in range(4)]
        assert await store.all_of(user) == tuple(reversed(added))
        assert (await store.own_keys(user, _SERVICES)).credentials == tuple(reversed(added))

    async def test_only_the_services_asked_for(self, store: CredentialStore, user: str) -> None:
        openai = await store.add(a_credential(user))
        await store.add(a_credential(user, service=KeyService.GROQ))
        openrouter = await store.add(a_credential(user, service=KeyService.OPENROUTER))
        await store.add(a_credential(f"{user}-2"))
        asked = (KeyService.GATEWAY, KeyService.OPENAI, KeyService.OPENROUTER)
        assert (await store.own_keys(user, asked)).credentials == (openrouter, openai)

    async def test_a_removed_credential_is_gone(self, store: CredentialStore, user: str) -> None:
        stored = await store.add(a_credential(user))
        assert not await store.remove(f"{user}-2", stored.place.credential_id)
        assert not await store.remove(user, new_id())
        assert await store.remove(user, stored.place.credential_id)
        assert not await store.remove(user, stored.place.credential_id)
        assert await store.all_of(user) == ()

    async def test_all_of_a_users_credentials_or_a_services_are_removed(
        self, store: CredentialStore, user: str
    ) -> None:
        openai = [await store.add(a_credential(user, f"{n:04}")) for n in range(3)]
        groq = await store.add(a_credential(user, service=KeyService.GROQ))
        others = await store.add(a_credential(f"{user}-2"))
        gone = await store.remove_all(user, KeyService.OPENAI)
        assert set(gone) == {one.place.credential_id for one in openai}
        assert await store.remove_all(user, KeyService.OPENAI) == ()
        assert await store.all_of(user) == (groq,)
        assert await store.remove_all(user, None) == (groq.place.credential_id,)
        assert await store.all_of(f"{user}-2") == (others,)

    async def test_one_is_found_by_its_owner(self, store: CredentialStore, user: str) -> None:
        stored = await store.add(a_credential(user))
        assert await store.find(user, stored.place.credential_id) == stored
        assert await store.find(f"{user}-2", stored.place.credential_id) is None
        assert await store.find(user, new_id()) is None

    async def test_they_are_listed_by_service_and_tried_by_position(
        self, store: CredentialStore, user: str
    ) -> None:
        openai = [await store.add(a_credential(user, f"{n:04}")) for n in range(3)]
        groq = await store.add(a_credential(user, service=KeyService.GROQ))
        first = await store.update(user, openai[0].place.credential_id, CredentialChange(position=0))
        last = await store.update(user, openai[2].place.credential_id, CredentialChange(position=7))
        assert first
        assert last
        assert await store.all_of(user) == (groq, openai[1], first, last)
        own = await store.own_keys(user, (KeyService.OPENAI,))
        assert own.credentials == (openai[1], first, last)

    async def test_only_an_inactive_one_is_not_tried(self, store: CredentialStore, user: str) -> None:
        added = [
            await store.add(a_credential(user, f"{n:04}", status=status))
            for n, status in enumerate(CredentialStatus)
        ]
        assert [one.status for one in added] == list(CredentialStatus)
        own = (await store.own_keys(user, _SERVICES)).credentials
        assert {one.status for one in own} == set(CredentialStatus) - {CredentialStatus.INACTIVE}
        assert len(await store.all_of(user)) == len(CredentialStatus)

    # -- changes ------------------------------------------------------------------------------------------

    async def test_what_is_changed_and_nothing_else(self, store: CredentialStore, user: str) -> None:
        old = await store.add(a_credential(user))
        at = old.place.credential_id
        assert (old.place.version, old.position) == (1, 0)
        for change in (
            CredentialChange(label="desk"),
            CredentialChange(position=3),
            CredentialChange(status=CredentialStatus.INVALID),
            CredentialChange(label=""),
            CredentialChange(),
        ):
            new = await store.update(user, at, change)
            assert new is not None
            label = old.label if change.label is None else change.label or None
            assert (new.label, new.position, new.status) == (
                label,
                old.position if change.position is None else change.position,
                change.status or old.status,
            )
            assert (new.place, new.ciphertext, new.hint, new.created_at) == (
                old.place,
                old.ciphertext,
                old.hint,
                old.created_at,
            )
            assert await store.find(user, at) == new
            assert new.updated_at
            assert old.updated_at
            assert new.updated_at >= old.updated_at
            old = new
        assert await store.update(f"{user}-2", at, CredentialChange(label="mine")) is None
        assert await store.update(user, new_id(), CredentialChange(label="mine")) is None

    async def test_a_status_says_since_when(self, store: CredentialStore, user: str) -> None:
        stored = await store.add(a_credential(user))
        at = stored.place.credential_id
        assert stored.status_changed_at is None
        same = await store.update(user, at, CredentialChange(status=CredentialStatus.ACTIVE))
        assert same
        assert same.status_changed_at is None
        out = await store.update(user, at, CredentialChange(status=CredentialStatus.INACTIVE))
        assert out
        assert out.status_changed_at
        still = await store.update(user, at, CredentialChange(status=CredentialStatus.INACTIVE, label="x"))
        assert still
        assert still.status_changed_at == out.status_changed_at

    async def test_a_providers_word_is_of_one_version(self, store: CredentialStore, user: str) -> None:
        stored = await store.add(a_credential(user))
        at = stored.place.credential_id
        marked = CredentialChange(status=CredentialStatus.NO_QUOTA, status_of_version=1)
        said = await store.update(user, at, marked)
        assert said
        assert said.status is CredentialStatus.NO_QUOTA
        new = await store.replace(a_successor(stored))
        assert new
        late = await store.update(user, at, marked)
        assert late
        assert (late.status, late.status_changed_at) == (new.status, new.status_changed_at)

    async def test_a_providers_word_puts_back_none_that_was_taken_out(
        self, store: CredentialStore, user: str
    ) -> None:
        at = (await store.add(a_credential(user))).place.credential_id
        out = await store.update(user, at, CredentialChange(status=CredentialStatus.INACTIVE))
        assert out
        valid = CredentialChange(status=CredentialStatus.ACTIVE, status_of_version=1)
        still = await store.update(user, at, valid)
        assert still
        assert (still.status, still.status_changed_at) == (out.status, out.status_changed_at)

    async def test_a_replaced_key_is_a_version_further(self, store: CredentialStore, user: str) -> None:
        old = await store.add(a_credential(user, status=CredentialStatus.INVALID))
        await store.note_uses([use(old, CredentialStatus.ACTIVE)])
        new = a_successor(old, base_url="https://other.example/v1")
        stored = await store.replace(new)
        assert stored is not None
        assert (stored.place, stored.ciphertext, stored.hint) == (new.place, "vault:v2:BBBB", "sk-…2222")
        assert (stored.label, stored.created_at) == (old.label, old.created_at)
        assert (stored.status, stored.last_used_at) == (CredentialStatus.ACTIVE, None)
        assert await store.all_of(user) == (stored,)

    async def test_nothing_else_is_replaced(self, store: CredentialStore, user: str) -> None:
        old = await store.add(a_credential(user))
        for wrong in (
            {"version": 1},
            {"version": 3},
            {"user_id": f"{user}-2"},
            {"service": KeyService.GROQ},
            {"credential_id": new_id()},
        ):
            assert await store.replace(a_successor(old, **wrong)) is None
        assert await store.all_of(user) == (old,)

    async def test_of_two_replacements_at_once_one_is_refused(
        self, store: CredentialStore, user: str
    ) -> None:
        old = await store.add(a_credential(user))
        both = await asyncio.gather(*(store.replace(a_successor(old, f"BBB{n}")) for n in range(2)))
        assert sorted(one is None for one in both) == [False, True]

    async def test_a_key_that_another_credential_holds_is_a_conflict(
        self, store: CredentialStore, user: str
    ) -> None:
        first, second = [await store.add(a_credential(user, f"{n:04}")) for n in range(2)]
        with pytest.raises(ConflictError):
            await store.replace(a_successor(first, "0001"))
        assert await store.all_of(user) == (second, first)
        assert await store.replace(a_successor(first, "0000")), "its own key again is no other's"

    async def test_an_inactive_one_stays_so_when_it_is_replaced(
        self, store: CredentialStore, user: str
    ) -> None:
        old = await store.add(a_credential(user, status=CredentialStatus.INACTIVE))
        stored = await store.replace(a_successor(old))
        assert stored
        assert stored.status is CredentialStatus.INACTIVE
        back = await store.update(
            user, old.place.credential_id, CredentialChange(status=CredentialStatus.ACTIVE)
        )
        assert back
        assert back.status is CredentialStatus.ACTIVE

    # -- what runs find -----------------------------------------------------------------------------------

    async def test_a_use_that_worked_is_noted_and_clears_the_mark(
        self, store: CredentialStore, user: str
    ) -> None:
        stored = await store.add(a_credential(user, status=CredentialStatus.NO_QUOTA))
        await store.note_uses([])
        await store.note_uses([use(stored, CredentialStatus.ACTIVE)])
        noted = await found(store, stored)
        assert (noted.status, noted.status_changed_at) == (CredentialStatus.ACTIVE, moment())
        assert noted.last_used_at == moment()
        assert noted.updated_at == stored.updated_at

    async def test_a_refusal_marks_it_and_is_no_use(self, store: CredentialStore, user: str) -> None:
        marked, other = [await store.add(a_credential(user, f"{n:04}")) for n in range(2)]
        await store.note_uses([use(marked, CredentialStatus.INVALID)])
        noted = await found(store, marked)
        assert (noted.status, noted.last_used_at) == (CredentialStatus.INVALID, None)
        assert await found(store, other) == other

    async def test_a_late_word_does_not_undo_a_later_one(self, store: CredentialStore, user: str) -> None:
        stored = await store.add(a_credential(user))
        await store.note_uses([use(stored, CredentialStatus.ACTIVE, 5)])
        await store.note_uses([use(stored, CredentialStatus.INVALID, 4)])
        noted = await found(store, stored)
        assert (noted.status, noted.last_used_at) == (CredentialStatus.ACTIVE, moment(5))
        await store.note_uses([use(stored, CredentialStatus.INVALID, 6)])
        await store.note_uses([use(stored, CredentialStatus.INVALID, 8)])
        await store.note_uses([use(stored, CredentialStatus.ACTIVE, 7)])
        noted = await found(store, stored)
        assert (noted.status, noted.status_changed_at) == (CredentialStatus.INVALID, moment(6))
        assert noted.last_used_at == moment(7)

    async def test_many_words_at_once(self, store: CredentialStore, user: str) -> None:
        stored = [await store.add(a_credential(user, f"{n:04}")) for n in range(3)]
        await store.note_uses(
            [
                use(stored[0], CredentialStatus.INVALID, 3),
                use(stored[0], CredentialStatus.ACTIVE, 1),
                use(stored[1], CredentialStatus.ACTIVE, 2),
                use(stored[1], CredentialStatus.NO_QUOTA, 1),
                use(stored[1], CredentialStatus.ACTIVE, 2),
                CredentialUse(new_id(), 1, CredentialStatus.ACTIVE, moment()),
            ]
        )
        noted = [await found(store, one) for one in stored]
        assert [(one.status, one.last_used_at) for one in noted] == [
            (CredentialStatus.INVALID, moment(1)),
            (CredentialStatus.ACTIVE, moment(2)),
            (CredentialStatus.ACTIVE, None),
        ]

    async def test_of_a_key_that_was_replaced_nothing_is_heard(
        self, store: CredentialStore, user: str
    ) -> None:
        old = await store.add(a_credential(user))
        new = await store.replace(a_successor(old))
        assert new is not None
        await store.note_uses([use(old, CredentialStatus.INVALID), use(old, CredentialStatus.ACTIVE)])
        assert await found(store, new) == new
        await store.note_uses([use(new, CredentialStatus.ACTIVE)])
        assert (await found(store, new)).last_used_at == moment()

    async def test_an_inactive_one_is_not_woken(self, store: CredentialStore, user: str) -> None:
        stored = await store.add(a_credential(user, status=CredentialStatus.INACTIVE))
        await store.note_uses(
            [use(stored, CredentialStatus.ACTIVE), use(stored, CredentialStatus.INVALID, 1)]
        )
        noted = await found(store, stored)
        assert (noted.status, noted.last_used_at) == (CredentialStatus.INACTIVE, moment())

    async def test_what_its_owner_said_stands_over_an_older_word(
        self, store: CredentialStore, user: str
    ) -> None:
        stored = await store.add(a_credential(user, status=CredentialStatus.INVALID))
        active = CredentialChange(status=CredentialStatus.ACTIVE)
        await store.update(user, stored.place.credential_id, active)
        before = datetime.now(UTC) - timedelta(hours=1)
        late = CredentialUse(stored.place.credential_id, 1, CredentialStatus.INVALID, before)
        await store.note_uses([late])
        assert (await found(store, stored)).status is CredentialStatus.ACTIVE

    async def test_batches_at_once_do_not_block_each_other(self, store: CredentialStore, user: str) -> None:
        stored = [await store.add(a_credential(user, f"{n:04}")) for n in range(20)]
        words = [[use(one, CredentialStatus.ACTIVE, n) for one in stored] for n in range(8)]
        await asyncio.gather(*(store.note_uses(said[:: 1 if n % 2 else -1]) for n, said in enumerate(words)))
        assert {(await found(store, one)).last_used_at for one in stored} == {moment(7)}

    # -- rewrapping ---------------------------------------------------------------------------------------

    async def test_a_rewrap_takes_the_place_of_what_was_read(self, store: CredentialStore, user: str) -> None:
        stored = [await store.add(a_credential(user, f"{n:04}")) for n in range(3)]
        replaced = await store.replace(a_successor(stored[1]))
        assert await store.remove(user, stored[2].place.credential_id)
        fresh = Ciphertext("vault:v3:CCCC", 3)
        assert await store.rewrap([(one, fresh) for one in stored]) == 1
        assert await store.rewrap([(one, fresh) for one in stored]) == 0
        assert await store.rewrap([]) == 0
        rewrapped = await found(store, stored[0])
        assert rewrapped == replace(stored[0], ciphertext="vault:v3:CCCC")
        assert await store.all_of(user) == (replaced, rewrapped)

    async def test_what_an_older_master_key_encrypted_is_found(
        self, store: CredentialStore, user: str
    ) -> None:
        count = await store.count_before(2)
        stored = [await store.add(a_credential(user, f"{n:04}")) for n in range(3)]
        assert await store.count_before(2) == count + 3
        assert await store.count_before(1) == 0
        older = await store.encrypted_before(2, count + 10)
        assert len(older) == count + 3
        assert set(stored) <= set(older)
        assert len(await store.encrypted_before(2, 2)) == 2
        await store.rewrap([(one, Ciphertext("vault:v2:CCCC", 2)) for one in stored])
        assert await store.count_before(2) == count


class TestInMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> InMemoryCredentialStore:
        return InMemoryCredentialStore()


class TestPostgresStore(StoreContract):
    @pytest.fixture
    async def pool(self, pool_for: PoolFor) -> "asyncpg.Pool[Any]":
        return await pool_for(KEY_VAULT)

    @pytest.fixture
    def store(self, pool: "asyncpg.Pool[Any]") -> CredentialStore:
        return PostgresCredentialStore(pool)

    @pytest.mark.parametrize("ciphertext", ["sk-test-0123456789abcdefWXYZ", "", "vault:v1:sk-plain"])
    async def test_the_table_takes_no_plain_key(
        self, store: CredentialStore, user: str, ciphertext: str
    ) -> None:
        place = Place(user, new_id(), KeyService.OPENAI, None)
        plain = NewCredential(place, Ciphertext(ciphertext, 1), "vault:v1:AAAA", "…", None)
        with pytest.raises(asyncpg.CheckViolationError):
            await store.add(plain)

    @pytest.mark.parametrize(
        "statement",
        [
            "update credentials set user_id = 'eve'",
            "update credentials set service = 'groq'",
            "update credentials set id = gen_random_uuid()",
            "update credentials set created_at = now()",
            "truncate credentials",
            "delete from settings",
            "update consents set user_id = 'eve'",
            "delete from consents",
            "create table mine ()",
        ],
    )
    async def test_the_role_may_no_more_than_it_must(self, pool: "asyncpg.Pool[Any]", statement: str) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await pool.execute(statement)

    async def test_postgres_away_is_said_so(self, user: str) -> None:
        lost = asyncpg.create_pool("postgres://nobody@127.0.0.1:9/x", min_size=0, timeout=1)
        async with lost:
            with pytest.raises(DatabaseUnavailableError):
                await PostgresCredentialStore(lost).own_keys(user, _SERVICES)

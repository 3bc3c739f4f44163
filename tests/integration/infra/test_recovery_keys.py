"""`latchkey recover`: keys that were taken back since the backup, and consent, stay taken back."""

from collections.abc import AsyncIterator
from typing import Final
from uuid import UUID

import aio_pika
import pytest
import pytest_asyncio

from infra.bootstrap.postgres import Connection, connect
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import write
from shared.kernel.ids import new_id
from shared.kernel.names import KEY_VAULT, CredentialStatus, KeyService
from tests.integration.infra.recovery import added, realm, recovered_of, tell
from tests.realm import TestRealm

__all__ = ["realm"]

pytestmark = pytest.mark.integration

_KEEP: Final = """
INSERT INTO key_vault.credentials (id, user_id, service, ciphertext, key_version, fingerprint, hint)
VALUES ($1, 'ada', 'openai', 'vault:v1:AAAA', 1, 'vault:v1:' || replace($1::uuid::text, '-', ''), 'sk-…')
"""
_DECIDE: Final = """
INSERT INTO key_vault.settings (user_id, allow_platform_fallback) VALUES ($1, $2)
ON CONFLICT (user_id) DO UPDATE SET allow_platform_fallback = $2,
    consent_id = gen_random_uuid(), changed_at = clock_timestamp()
RETURNING consent_id
"""


@pytest_asyncio.fixture
async def database(realm: TestRealm) -> AsyncIterator[Connection]:
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as connection:
        yield connection


async def test_what_was_taken_back_stays_taken_back(realm: TestRealm, database: Connection) -> None:
    revoked, replaced, switched, kept, newer = [await _credential(database) for _ in range(5)]
    await database.execute("UPDATE key_vault.credentials SET version = 3 WHERE id = $1", newer)
    await _decide(database, "ada", platform=True)
    await tell(
        realm,
        KEY_VAULT,
        _stored(kept, 1),
        _stored(newer, 2, CredentialStatus.INACTIVE),
        _stored(replaced, 2),
        _stored(switched, 1, CredentialStatus.INACTIVE),
        KeyRevoked(user_id="ada", credential_id=revoked),
        _decided("ada", platform=True),
        _decided("ada", platform=False),
    )
    changed = (await recovered_of(realm)).changed
    assert (changed.destroyed, changed.switched, changed.consents) == (2, 1, 1)
    left = await database.fetch("SELECT id, status FROM key_vault.credentials")
    assert dict(left) == {switched: "inactive", kept: "active", newer: "active"}
    consent = await database.fetchval("SELECT allow_platform_fallback FROM key_vault.settings")
    assert consent is False

    later = await _decide(database, "ada", platform=True)
    assert added(await recovered_of(realm)) == 0, "what was decided after what was told stands"
    assert await database.fetchval("SELECT consent_id FROM key_vault.settings") == later


async def test_who_had_decided_nothing_has_now(realm: TestRealm, database: Connection) -> None:
    told = [_decided("bob", platform=True), _decided("bob", platform=False)]
    unreadable = told[0].model_copy(update={"consent_id": "no id"})
    await tell(realm, KEY_VAULT, *told, unreadable)
    assert (await recovered_of(realm)).changed.consents == 1
    stands = await database.fetchval("SELECT consent_id FROM key_vault.settings WHERE user_id = 'bob'")
    assert str(stands) == told[1].consent_id
    history = await database.fetch("SELECT consent_id FROM key_vault.consents")
    assert {str(row["consent_id"]) for row in history} == {each.consent_id for each in told}


async def test_what_a_provider_said_later_stands(realm: TestRealm, database: Connection) -> None:
    credential = await _credential(database)
    await tell(realm, KEY_VAULT, _stored(credential, 1))
    said = "UPDATE key_vault.credentials SET status = 'invalid', status_said_at = clock_timestamp()"
    await database.execute(said)
    assert added(await recovered_of(realm)) == 0
    assert await database.fetchval("SELECT status FROM key_vault.credentials") == "invalid"


async def test_what_others_say_of_keys_is_not_heeded(realm: TestRealm, database: Connection) -> None:
    credential = await _credential(database)
    message = KeyRevoked(user_id="ada", credential_id=credential)
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        exchange = await (await connection.channel()).get_exchange("keys", ensure=False)
        await exchange.publish(aio_pika.Message(write(message, source=KEY_VAULT)[1]), message.ROUTING_KEY)
    assert added(await recovered_of(realm)) == 0


async def _credential(database: Connection) -> UUID:
    made = new_id()
    await database.execute(_KEEP, made)
    return made


def _decided(user: str, *, platform: bool) -> ConsentChanged:
    return ConsentChanged(
        user_id=user,
        consent_id=str(new_id()),
        allow_platform_fallback=platform,
        allow_gateway_fallback=False,
    )


async def _decide(database: Connection, user: str, *, platform: bool) -> UUID:
    consent_id: UUID = await database.fetchval(_DECIDE, user, platform)
    return consent_id


def _stored(credential: UUID, version: int, status: CredentialStatus = CredentialStatus.ACTIVE) -> KeyStored:
    return KeyStored(
        user_id="ada", credential_id=credential, service=KeyService.OPENAI, version=version, status=status
    )

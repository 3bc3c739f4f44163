"""The realm that the integration tests get."""

import asyncpg
import pytest

from tests.realm import TestRealm

pytestmark = pytest.mark.integration


async def test_a_service_reaches_its_own_schema_only(realm: TestRealm) -> None:
    connection = await asyncpg.connect(realm.env("billing")["LATCHKEY_POSTGRES_URL"])
    try:
        assert await connection.fetchval("SELECT current_schema()") == "billing"
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM edge.schema_migrations")
    finally:
        await connection.close()

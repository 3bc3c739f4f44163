"""The `latchkey` command against a real realm."""

import pytest

from infra.bootstrap.postgres import connect
from tests.latchkey import latchkey
from tests.realm import TestRealm

pytestmark = pytest.mark.integration


async def test_a_token_is_all_that_is_printed(realm: TestRealm) -> None:
    code, told = await latchkey(realm, "token", "--user", "erin", "--role", "admin")
    assert code == 0
    assert told.strip().startswith("lk_")
    assert len(told.split()) == 1


async def test_a_token_names_a_user(realm: TestRealm) -> None:
    for user in ("", "new\nline", "x" * 129):
        code, told = await latchkey(realm, "token", "--user", user)
        assert (code, told) == (1, "latchkey: a user's id is 1 to 128 printable characters\n")


async def test_a_users_tokens_end_together(realm: TestRealm) -> None:
    for user in ("fay", "fay", "gil"):
        await latchkey(realm, "token", "--user", user)
    assert await latchkey(realm, "revoke-tokens", "--user", "fay") == (0, "revoked 2 of fay's tokens\n")
    assert await latchkey(realm, "revoke-tokens", "--user", "fay") == (0, "revoked 0 of fay's tokens\n")


async def test_an_edge_that_is_away_is_said_in_a_line(realm: TestRealm) -> None:
    code, told = await latchkey(realm, "rewrap", LATCHKEY_URL="http://127.0.0.1:9")
    assert code == 1
    assert told.startswith("latchkey: the edge at http://127.0.0.1:9")
    assert len(told.splitlines()) == 1
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        left = await database.fetch(
            "SELECT 1 FROM edge.api_tokens WHERE user_id = 'latchkey-cli' AND revoked_at IS NULL"
        )
    assert left == [], "the token minted for the command is gone with it"


async def test_without_a_stack_it_says_what_is_missing(realm: TestRealm) -> None:
    code, told = await latchkey(realm, "usage", "tail", LATCHKEY_ANALYST_AMQP_URL="")
    assert code == 1
    assert "LATCHKEY_ANALYST_AMQP_URL is neither set nor in" in told

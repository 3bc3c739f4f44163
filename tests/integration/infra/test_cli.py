"""The `latchkey` command against a real realm."""

import asyncio
import os
import sys

import pytest

from infra.bootstrap.postgres import connect
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

_COMMAND = (sys.executable, "-m", "infra.cli")


async def _latchkey(realm: TestRealm, *words: str, **more: str) -> tuple[int, str]:
    env = {"PATH": os.environ["PATH"], "LATCHKEY_HOME": str(realm.env_dir / "no-home"), **realm.admin, **more}
    process = await asyncio.create_subprocess_exec(
        *_COMMAND, *words, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    told, _ = await process.communicate()
    return process.returncode or 0, told.decode()


async def test_a_token_is_all_that_is_printed(realm: TestRealm) -> None:
    code, told = await _latchkey(realm, "token", "--user", "erin", "--role", "admin")
    assert code == 0
    assert told.strip().startswith("lk_")
    assert len(told.split()) == 1


async def test_a_users_tokens_end_together(realm: TestRealm) -> None:
    for user in ("fay", "fay", "gil"):
        await _latchkey(realm, "token", "--user", user)
    assert await _latchkey(realm, "revoke-tokens", "--user", "fay") == (0, "revoked 2 of fay's tokens\n")
    assert await _latchkey(realm, "revoke-tokens", "--user", "fay") == (0, "revoked 0 of fay's tokens\n")


async def test_an_edge_that_is_away_is_said_in_a_line(realm: TestRealm) -> None:
    code, told = await _latchkey(realm, "rewrap", LATCHKEY_URL="http://127.0.0.1:9")
    assert code == 1
    assert told.startswith("latchkey: the edge at http://127.0.0.1:9")
    assert len(told.splitlines()) == 1
    async with connect(realm.admin["LATCHKEY_POSTGRES_URL"]) as database:
        left = await database.fetch(
            "SELECT 1 FROM edge.api_tokens WHERE user_id = 'latchkey-cli' AND revoked_at IS NULL"
        )
    assert left == [], "the token minted for the command is gone with it"


async def test_without_a_stack_it_says_what_is_missing(realm: TestRealm) -> None:
    code, told = await _latchkey(realm, "usage", "tail", LATCHKEY_ANALYST_AMQP_URL="")
    assert code == 1
    assert "LATCHKEY_ANALYST_AMQP_URL is neither set nor in" in told

"""The `latchkey` command against a real realm."""

import asyncio
import json
import os
import sys

import pytest

from infra.bootstrap.postgres import connect
from tests.integration.infra.conftest import put, record
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


async def test_usage_prints_the_stream_from_an_offset(realm: TestRealm) -> None:
    await record(realm, "cli_test", 1, 2, 3)
    code, told = await _latchkey(realm, "usage")
    events = [json.loads(line) for line in told.splitlines()]
    assert code == 0
    assert [event["cli_test"] for event in events if "cli_test" in event][-3:] == [1, 2, 3]
    _, later = await _latchkey(realm, "usage", "--offset", str(len(events) - 1))
    assert [json.loads(line) for line in later.splitlines()] == [{"cli_test": 3}]
    _, nothing = await _latchkey(realm, "usage", "--offset", "next")
    assert nothing == ""


async def test_what_is_no_event_does_not_end_the_reading(realm: TestRealm) -> None:
    await put(realm, b"\xff\xfe", b"", b"[1]", b"{")
    await record(realm, "cli_after", 1)
    code, told = await _latchkey(realm, "usage")
    events = [json.loads(line) for line in told.splitlines()]
    assert code == 0
    assert events[-1] == {"cli_after": 1}
    assert all(isinstance(event, dict) for event in events)


async def test_the_ledger_adds_up(realm: TestRealm) -> None:
    code, told = await _latchkey(realm, "ledger", "verify")
    assert (code, "it adds up" in told) == (0, True), told


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
    code, told = await _latchkey(realm, "usage", LATCHKEY_ANALYST_AMQP_URL="")
    assert code == 1
    assert "LATCHKEY_ANALYST_AMQP_URL is neither set nor in" in told

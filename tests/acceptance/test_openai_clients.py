"""docs/openai-clients.md: its commands and programs, run as they stand."""

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.house import House

pytestmark = pytest.mark.acceptance

PAGE: Final = (Path(__file__).parents[2] / "docs" / "openai-clients.md").read_text()
KEY: Final = "sk-sim-clients-0011223344"


async def said(house: House, *command: str) -> str:
    """Run a command as a user with a key of their own; return what it printed. Raises when it fails."""
    caller = await house.caller()
    await caller.store_key(KEY)
    env = {**os.environ, "LATCHKEY_URL": house.url, "LATCHKEY_USER_TOKEN": caller.token}
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode()
    return out.decode()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def test_curl(house: House) -> None:
    plain, streamed = [await said(house, "sh", "-c", block) for block in blocks("sh")]
    assert '"content":"Echo: Hello"' in plain
    assert streamed.endswith("data: [DONE]\n\n")
    assert all(shlex.split(block)[0] == "curl" for block in blocks("sh"))


async def test_python(house: House) -> None:
    (program,) = blocks("python")
    lines = (await said(house, sys.executable, "-W", "error", "-c", program)).splitlines()
    assert lines[0] == "Echo: Hello"
    assert lines[1].startswith("user ")
    assert lines[2:] == [
        "Echo: Hello",
        lines[3],
        "Echo: Hello",
        "3",
        f"user_api_key_required {lines[6].split()[1]} https://console.anthropic.com/settings/keys",
    ]
    assert re.fullmatch(r" \d+ user", lines[3])

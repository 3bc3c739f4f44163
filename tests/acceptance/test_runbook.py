"""docs/operations.md: each of its commands, in order, on a native stack, as an operator would type them."""

import asyncio
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Final

import pytest

from infra.local.home import CHECKOUT, Home
from tests.native import native_home

pytestmark = pytest.mark.acceptance

_KEY: Final = "sk-sim-runbook-0123456789"
_STEP_S: Final = 90
_END: Final = "--end of the command--"
_INHERITED: Final = ("LATCHKEY_", "MAKE", "MFLAGS", "VAULT_", "BAO_")

# Each command's beginning, and what it must say.
SAYS: Final = (
    ("make up", "ready at"),
    ("set -a; . ", ""),
    ("make status", "running"),
    ("latchkey call GET /readyz", '"status": "ready"'),
    ("bao status", r"Sealed +false"),
    ("TOKEN=$(make token USER=carol)", ""),
    ("latchkey call --token", '"status": "active"'),
    ("latchkey call --token", '"key_source": "user"'),
    ("latchkey usage tail", '"key_source":"user"'),
    ("latchkey ledger verify", "it adds up"),
    ("read -rs KEY", ""),
    ("printf %s ", r"version +1"),
    ("printf '", r"version +1"),
    ("printf %s ", r"version +1"),
    ("GROQ_API_KEY=", "ready at"),
    ("bao kv list", "groq"),
    ("printf %s ", r"version +2"),
    ("bao kv rollback", r"version +3"),
    ("bao kv metadata delete", "Success"),
    ("latchkey platform-keys", r"platform:openrouter:\w{12} +openrouter +sk-…6789 +ready"),
    ("latchkey platform-keys --mend", "is ready"),
    ("bao write -f latchkey_transit/keys/credentials/rotate", r"latest_version +2"),
    ("latchkey rewrap", "1 rewrapped to version 2, 0 remain"),
    ("bao write latchkey_transit", r"min_decryption_version +2"),
    ("bao read -field=min_decryption_version", r"^2\b"),
    ("bao audit list", "file/"),
    ("tail -n 1", '"type":"(request|response)"'),
    ("grep -c", r"^[1-9]"),
    ("HASH=", ""),
    ("grep -c ", r"^[1-9]"),
    ("make revoke-key", "revoked 1 of carol's keys for openai"),
    ("latchkey revoke-key", "revoked 0 of carol's keys"),
    ("latchkey revoke-tokens", "revoked 1 of carol's tokens"),
    ("latchkey forget --user dave", "forgot 0 runs"),
    ("latchkey call POST /api/admin/credits/grants", '"credits": "10"'),
    ("latchkey call PUT /api/admin/prices", '"version": "prices-1"'),
    ("latchkey call --token", '"key_source": "platform"'),
    ("latchkey call DELETE /api/admin/prices", '"price": null'),
    ("latchkey call GET /api/admin/prices/openai", '"input_usd": "0.15"'),
    ("latchkey call GET /api/admin/prices", '"version": "prices-2"'),
    ("TO=$(date", ""),
    ("latchkey ledger rerate", r"^alice +1 +0 .* -0\.\d+$"),
    ("echo ", ""),
    ("latchkey ledger rerate", r'"kind":"total","attempts":1,"unrated":0'),
    ("latchkey ledger rerate", r"list-price: alice \+0\.\d+"),
    ("latchkey call --token", '"kind": "adjustment"'),
    ("latchkey ledger verify", "it adds up"),
    ("latchkey ledger rebuild --check", "the same as the tables"),
    ("latchkey dead-letters", "0 waiting"),
    ("latchkey dead-letters", ""),
    ("latchkey dead-letters billing.usage --requeue", "0 put back"),
    ("latchkey ledger rebuild --check", "the same as the tables"),
    ("PATH=", ""),
    ("(umask 077; pg_dump", ""),
    ("bao operator raft snapshot save", ""),
    ("latchkey call POST /api/admin/credits/grants", '"credits": "1"'),
    ("for part in", ""),
    ("(umask 077; pg_restore", ""),
    ("make up", "bootstrapped"),
    ("latchkey recover", "added 0 attempts, 0 usage events, 1 transfers"),
    ("make up", "ready at"),
    ("latchkey ledger verify && latchkey ledger rebuild", "the same as the tables"),
    ("latchkey call --token", '"status": "valid"'),
    ("grep ", '"verdict":"valid"'),
    ("latchkey call GET /system/nodes", "user_key_preferred"),
    ("latchkey call --token", '"allowGatewayFallback": false'),
    ("latchkey call --token", "openrouter"),
    ("latchkey platform-keys", "ready"),
    ("grep ", '"ms":'),
    ("LATCHKEY_TRACES__ENDPOINT=http", "ready at"),
    ("latchkey call --token", '"key_source"'),
    ("grep -c", r"^[1-9]"),
    ("LATCHKEY_TRACES__ENDPOINT= make up", "ready at"),
    ("bao status", '"sealed": false'),
    ("make restart", ""),
    ("tail -n 3", "unsealed"),
    ("bao policy read", "latchkey_transit/decrypt/credentials"),
    ("bao token lookup", "root"),
    ("make up", "ready at"),
)


def _commands() -> list[str]:
    text = (CHECKOUT / "docs" / "operations.md").read_text()
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in lines), "one command a line"
    return [line.removeprefix("$ ") for line in lines]


def _filled_in(command: str, home: Home) -> str:
    """Put real things in the place of what the page leaves open."""
    digest = sha256(_KEY.encode()).hexdigest()[:12]
    blanks = {
        "read -rs KEY": f"KEY={_KEY}",
        ".latchkey/": f"{home.path}/",
        "sk-…": "sk-sim-0123456789",
        "openai:0123456789ab": f"openai:{digest}",
    }
    for blank, filling in blanks.items():
        command = command.replace(blank, filling)
    assert "…" not in command
    return command


class Shell:
    """A shell that stays, so that what one command sets the next one has."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, command: str) -> tuple[int, str]:
        """Return exit code and all that was said."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f'{{ {command}\n}} </dev/null\necho "{_END} $?"\n'.encode())
        said = ""
        while _END not in said:
            try:
                line = await asyncio.wait_for(self._process.stdout.readline(), _STEP_S)
            except TimeoutError:
                raise AssertionError(f"it does not end: {command}\n{said}") from None
            assert line, said
            said += line.decode()
        told, _, code = said.rpartition(_END)
        return int(code), told


@asynccontextmanager
async def _shell(home: Home) -> AsyncIterator[Shell]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(_INHERITED)}
    process = await asyncio.create_subprocess_exec(
        "bash",
        *("--norc", "--noprofile"),
        cwd=CHECKOUT,
        env={**env, "LATCHKEY_HOME": str(home.path)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        limit=2**22,
    )
    try:
        yield Shell(process)
    finally:
        process.kill()
        await process.wait()


def test_every_command_is_known_here() -> None:
    unknown = [
        (command, start)
        for command, (start, _) in zip(_commands(), SAYS, strict=True)
        if not command.startswith(start)
    ]
    assert unknown == []


@pytest.mark.timeout(500)
async def test_the_runbook_works() -> None:
    async with native_home("--simulator") as home, _shell(home) as shell:
        for command, (_, word) in zip(_commands(), SAYS, strict=True):
            code, said = await shell.run(_filled_in(command, home))
            assert code == 0, f"{command}\n{said}"
            assert re.search(word, said, re.MULTILINE), f"{command}\n{said}"
        assert _KEY not in _everything_logged(home.path)


def _everything_logged(home: Path) -> str:
    return "".join(file.read_text(errors="replace") for file in (home / "logs").glob("*.log"))

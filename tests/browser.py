"""A real browser, headless: Chromium, from the system's packages."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

_APT: Final = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300")
_WORDS: Final = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """Return the browser's path; on Debian it is installed when it is missing."""
    if (found := shutil.which("chromium")) is None:
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (("update",), ("install", "--no-install-recommends", "chromium")):
            subprocess.run([*_APT, *words], env=env, check=True, capture_output=True)
        found = shutil.which("chromium")
    if found is None:
        raise AssertionError("no Chromium to be had here")
    return found


@asynccontextmanager
async def browsing(address: str, profile: Path) -> AsyncIterator[None]:
    """A page that is open meanwhile."""
    words = (*_WORDS, f"--user-data-dir={profile}", address)
    path = await asyncio.to_thread(chromium)
    process = await asyncio.create_subprocess_exec(
        path, *words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()

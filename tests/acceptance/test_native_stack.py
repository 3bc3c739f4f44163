"""The whole native stack, as its users run it: by its commands."""

import asyncio
import itertools
from contextlib import AsyncExitStack

import pytest

from infra.bootstrap import Realm
from infra.bootstrap.envfiles import read_env
from infra.bootstrap.tokens import mint_jwt
from infra.local.home import Home
from infra.local.processes import processes
from infra.local.stack import Stack
from shared.kernel.names import API_EDGE, SERVICES, KeyService
from tests.acceptance.callers import calling
from tests.acceptance.canaries import SONG, Canary, Way
from tests.native import native_home, run_at
from tests.traces import traces

pytestmark = pytest.mark.acceptance

MEMORY_MB_MAX = 900


def _pids(home: Home) -> dict[str, str]:
    return {path.stem: path.read_text() for path in (home.path / "run").glob("*.pid")}


@pytest.mark.timeout(240)
async def test_a_stack_found_running_serves_the_demo_fits_in_memory_and_is_left_alone() -> None:
    async with native_home("--simulator") as home:
        pids = _pids(home)
        at_rest = sum(part.rss_mb for part in Stack(home.path).status())
        assert at_rest < MEMORY_MB_MAX, f"{at_rest:.0f} MB"

        assert "user_api_key_required" in await run_at(home.path, "infra.demo")

        await run_at(home.path, "infra.local", "up")
        assert _pids(home) == pids, "neither the demo nor a second start touched it"
        await _check_secrecy(home)
        assert processes(home) == []


@pytest.mark.timeout(120)
async def test_ready_is_what_a_service_says_of_itself() -> None:
    """Of each that was told to be ready: whether it had said so in its log by then."""
    said: dict[str, bool] = {}

    def tell(line: str) -> None:
        part, _, rest = line.partition(" ")
        if part in SERVICES and rest == "is ready":
            said[part] = b'"event":"ready"' in home.log(part).read_bytes()

    async with native_home() as home:
        await asyncio.to_thread(Stack(home.path, tell).up, {})
    assert said == dict.fromkeys(SERVICES, True)


async def _check_secrecy(home: Home) -> None:
    """Keys brought in every way are in no file: the databases', the broker's, Vault's audit log."""
    secret = read_env(home.env_files / f"{API_EDGE}.env")["LATCHKEY_AUTH__JWT_SECRET"]
    url = read_env(home.dev_env)["LATCHKEY_URL"]
    async with AsyncExitStack() as stack:
        for service, way in itertools.product(KeyService, Way):
            user_id = f"singer-{service}-{way}"
            token = mint_jwt(secret, Realm(), user_id, "user")
            canary = Canary(await stack.enter_async_context(calling(url, user_id, token)), service, way)
            await canary.come_in()
            await canary.ask("sing")
    await run_at(home.path, "infra.local", "down")  # what was in memory only is written
    files = {path: path.read_bytes() for path in home.path.rglob("*") if path.is_file()}
    assert {path: found for path, text in files.items() if (found := traces(SONG, [text]))} == {}
    for folder in ("postgres", "rabbitmq"):  # the eye is open: the singers themselves are seen
        seen = [path for path, text in files.items() if folder in path.parts and b"singer-groq" in text]
        assert seen, f"nothing was written to {folder}"
    assert b"decrypt/credentials" in files[home.path / "logs" / "vault-audit.log"]

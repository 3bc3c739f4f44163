"""Clients that others wrote, each as its users install it: whatever they can do, they do at the edge."""

import asyncio
import json
import os
import shutil
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from infra.local.home import CHECKOUT
from tests.acceptance.house import House

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

PROGRAMS: Final = Path(__file__).parent / "clients"
HOME: Final = CHECKOUT / ".latchkey" / "clients"
_UV: Final = shutil.which("uv") or str(CHECKOUT / ".latchkey" / "uv" / "bin" / "uv")
_PYTHON: Final = HOME / "venv" / "bin" / "python"
_NODE: Final = HOME / "venv" / "bin" / "node"
EXPECTED: Final = {
    "plain": "Echo: Hello there",
    "streamed": "Echo: Hello again there",
    "has_usage": True,
    "tool": {"name": "weather", "arguments": {"city": "Rome"}},
    "streamed_tool": {"name": "weather", "arguments": {"city": "Paris"}},
    "error": {"status": 403, "code": "user_api_key_required"},
}


@pytest_asyncio.fixture(scope="module", autouse=True)
async def _installed() -> None:
    """Node and the packages, in the versions that are written down; what is there already stays."""
    HOME.mkdir(parents=True, exist_ok=True)
    if not _PYTHON.exists():
        await _run(_UV, "venv", "--quiet", str(_PYTHON.parents[1]))
    await _run(_UV, "pip", "install", "--quiet", "--python", str(_PYTHON), "-r", _program("requirements.txt"))
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PROGRAMS / name, HOME)
    npm = str(_NODE.with_name("npm"))  # of the wheel, which has a program for its own Node
    await _run(npm, "ci", "--no-audit", "--no-fund", "--prefix", str(HOME))


@pytest.mark.parametrize(
    "program", ["openai_npm.mjs", "ai_sdk.mjs", "langchain_openai_client.py", "litellm_client.py"]
)
async def test_it_works_unchanged(house: House, program: str) -> None:
    caller = await house.caller()
    await caller.store_key("sk-sim-others-0011223344")
    env = {"LATCHKEY_URL": house.url, "LATCHKEY_USER_TOKEN": caller.token}
    if program.endswith(".mjs"):
        shutil.copy(PROGRAMS / program, HOME)  # Node looks for packages beside the program
        said = await _run(str(_NODE), str(HOME / program), **env)
    else:
        said = await _run(str(_PYTHON), _program(program), **env)
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    assert found == EXPECTED


def _program(name: str) -> str:
    return str(PROGRAMS / name)


async def _run(*command: str, **env: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    process = await asyncio.create_subprocess_exec(
        *command, env={**inherited, **env}, stdout=PIPE, stderr=STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 300)
    assert process.returncode == 0, out.decode()
    return out.decode()

"""Clients that others wrote, each as its users install it: whatever they can do, they do at the edge."""

import json
import shutil
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from infra.local.home import CHECKOUT
from tests.acceptance.house import House
from tests.others_programs import OthersPrograms
from tests.processes import done

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

PROGRAMS: Final = Path(__file__).parent / "clients"
HOME: Final = CHECKOUT / ".latchkey" / "clients"
OTHERS: Final = OthersPrograms(HOME, PROGRAMS)
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
    await OTHERS.install()


@pytest.mark.parametrize(
    "program", ["openai_npm.mjs", "ai_sdk.mjs", "langchain_openai_client.py", "litellm_client.py"]
)
async def test_it_works_unchanged(house: House, program: str) -> None:
    caller = await house.caller()
    await caller.store_key("sk-sim-others-0011223344")
    env = {"LATCHKEY_URL": house.url, "LATCHKEY_USER_TOKEN": caller.token}
    if program.endswith(".mjs"):
        shutil.copy(PROGRAMS / program, HOME)  # Node looks for packages beside the program
        command = (OTHERS.program("node"), str(HOME / program))
    else:
        command = (OTHERS.program("python"), str(PROGRAMS / program))
    said = await done(*command, timeout_s=300, **env)
    found: dict[str, Any] = json.loads(said.splitlines()[-1])
    assert found == EXPECTED

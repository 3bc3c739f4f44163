"""The whole native stack, as its users run it: by its commands."""

import pytest

from infra.local.home import Home
from infra.local.processes import processes
from infra.local.stack import Stack
from tests.native import native_home, run_at

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
    assert processes(home) == []

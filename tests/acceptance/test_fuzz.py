"""schemathesis over the API's description: every operation and check, as a user and as an administrator."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Final

import pytest

from shared.kernel.names import KeyService
from tests.acceptance.house import House, put_platform_key

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(900)]

CASES_MIN: Final = 2_000
_CONFIG: Final = Path(__file__).parent / "schemathesis.toml"
_SERVED: Final = [service for service in KeyService if service is not KeyService.GATEWAY]


@pytest.mark.parametrize("role", ["user", "admin"])
async def test_whatever_is_sent_the_description_holds(house: House, role: str, tmp_path: Path) -> None:
    for service in _SERVED:
        await put_platform_key(house.realm, service, f"sk-sim-platform-{service}")
    caller = await house.caller(role, role)
    await house.grant(caller, 1_000_000_000)
    command = (
        *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(_CONFIG), "run"),
        *(f"{house.url}/openapi.json", "--header", f"Authorization: Bearer {caller.token}"),
        *("--checks", "all", "--phases", "examples,coverage,fuzzing", "--workers", "2"),
        *("--max-examples", os.environ.get("CASES", "40"), "--continue-on-failure", "--no-color"),
        *("--suppress-health-check", "all", "--request-timeout", "20"),
    )
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=PIPE, stderr=STDOUT)
    out, _ = await process.communicate()
    told = out.decode()
    sys.stdout.write(told)
    assert process.returncode == 0, told[-20_000:]
    found = re.search(r"(\d+) generated", told)
    assert found is not None
    assert int(found[1]) >= CASES_MIN

"""The demo's story, on this house."""

import io

import pytest

from infra.demo.environment import Environment
from infra.demo.plot import tell
from infra.demo.telling import Narrator
from tests.acceptance.house import House

pytestmark = pytest.mark.acceptance


async def test_the_demo_tells_a_true_story(house: House) -> None:
    admin = await house.caller("admin", "admin")
    env = {
        **house.realm.admin,
        "LATCHKEY_URL": house.url,
        "LATCHKEY_SIMULATOR_URL": house.simulator_url,
        "LATCHKEY_ADMIN_TOKEN": admin.token,
    }
    told = io.StringIO()

    await tell(Environment.model_validate(env), Narrator(told))

    assert "The story holds" in told.getvalue()

"""Keys encrypted anew, after the master key was rotated."""

import pytest

from shared.contracts.keys import RewrapKeys
from shared.kernel.errors import InternalError
from tests.fakes.key_vault_house import House

pytestmark = pytest.mark.unit


async def test_everything_is_rewrapped_some_at_a_time(house: House) -> None:
    for number in range(5):
        await house.keep(f"sk-number-{number}-000", user_id=f"user-{number}")
    rewrap = RewrapKeys(limit=2)
    nothing = await house.handlers.on_rewrap_keys(rewrap)
    assert (nothing.rewrapped, nothing.remaining, nothing.key_version) == (0, 0, 1)
    house.cipher.rotate()
    told = [await house.handlers.on_rewrap_keys(rewrap) for _ in range(3)]
    assert [(one.rewrapped, one.remaining, one.key_version) for one in told] == [
        (2, 3, 2),
        (2, 1, 2),
        (1, 0, 2),
    ]
    house.cipher.version_min = 2
    for number in range(5):
        assert (await house.resolve(user_id=f"user-{number}"))[1] == f"sk-number-{number}-000"


async def test_what_was_not_rewrapped_does_not_open_any_more(house: House) -> None:
    await house.keep()
    house.cipher.rotate()
    house.cipher.version_min = 2
    with pytest.raises(InternalError):
        await house.resolve()
    left = await house.handlers.on_rewrap_keys(RewrapKeys())
    assert (left.rewrapped, left.remaining) == (0, 1)

"""The command `latchkey`, as operators run it, beside the house."""

from tests.acceptance.house import House
from tests.latchkey import latchkey as on_realm


async def latchkey(house: House, *words: str) -> tuple[int, str]:
    """Return its exit code and all that it printed."""
    return await on_realm(house.realm, *words, LATCHKEY_URL=house.url)

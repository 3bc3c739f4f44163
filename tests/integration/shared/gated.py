"""A bus behind a gate, through which the broker can be away in every way."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.kernel.ids import new_id
from shared.kernel.secret import SecretText
from shared.runtime.bus import Bus
from tests.gate import Gate, open_gate
from tests.realm import TestRealm


@asynccontextmanager
async def gated(realm: TestRealm, service: str) -> AsyncIterator[tuple[Gate, Bus]]:
    """Not started."""
    url = realm.env(service)["LATCHKEY_AMQP_URL"]
    async with open_gate(url) as gate:
        instance = new_id().hex[-8:]
        bus = Bus(SecretText(gate.before(url)), service=service, instance=instance, realm=realm.name)
        yield gate, bus
        await bus.stop()

"""What a billing of an older version refused is charged when it is put back: once."""

from collections.abc import Sequence

import pytest
from aio_pika.abc import AbstractChannel

from infra.dead_letters import Fate, settle
from shared.contracts.topology import BILLING_USAGE
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import BILLING, INFERENCE
from shared.runtime.delivery import Delivery
from tests.fakes.billing import usage_event
from tests.integration.billing.conftest import Edge, Start, dead, report, until
from tests.realm import BusFor, TestRealm

pytestmark = pytest.mark.integration


async def _understands_nothing(deliveries: Sequence[Delivery]) -> list[Exception | None]:
    return [InvalidRequestError("malformed message: outcome") for _ in deliveries]


async def test_it_is_charged_once(
    realm: TestRealm, bus_for: BusFor, start: Start, edge: Edge, broker: AbstractChannel
) -> None:
    before = await dead(broker) or 0
    older, worker = bus_for(BILLING), bus_for(INFERENCE)
    older.subscribe_batches(BILLING_USAGE, _understands_nothing)
    await older.start()
    await worker.start()
    event = usage_event(user_id=edge.user_id)
    await report(worker, event, event)
    await until(lambda: dead(broker), before + 2)
    await older.stop()

    async with start():
        ids = {str(event.usage_id)}
        put_back = [
            letter
            async for letter in settle(realm.admin["LATCHKEY_AMQP_URL"], BILLING_USAGE, Fate.REQUEUE, ids)
        ]
        await edge.until((0, 0, 450))
        await until(lambda: dead(broker), before)
    assert len(put_back) == 2

"""The ends of kept runs, as inference tells them, into the edge's own table."""

from collections.abc import Sequence

from services.api_edge.ports import RunStore
from shared.contracts.runs import RunEnded
from shared.kernel.errors import PlatformError
from shared.kernel.names import INFERENCE
from shared.runtime.batches import Verdicts
from shared.runtime.delivery import Delivery
from shared.runtime.postgres import until_back

BATCH_SIZE = 50
"""An end holds a whole answer."""
_RETRY_S = 0.5


class RunEnds:
    """Any edge takes any run's end. They wait in place for a database that is away."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    async def on_ended(self, deliveries: Sequence[Delivery]) -> Verdicts:
        read = [_read(delivery) for delivery in deliveries]
        ends = [end for end in read if isinstance(end, RunEnded)]
        if ends:
            await until_back(lambda: self._runs.end(ends), retry_s=_RETRY_S, what="the ends of runs")
        return [end if isinstance(end, PlatformError) else None for end in read]


def _read(delivery: Delivery) -> RunEnded | PlatformError:
    try:
        return delivery.read(RunEnded, senders=(INFERENCE,))
    except PlatformError as error:
        return error

"""The ends of kept runs, as inference tells them, into the edge's own table."""

from collections.abc import Sequence

from services.api_edge.ports import RunStore
from shared.contracts.runs import RunEnded
from shared.kernel.errors import DatabaseUnavailableError, PlatformError
from shared.kernel.isolation import isolating
from shared.kernel.names import INFERENCE
from shared.runtime.batches import Verdicts
from shared.runtime.delivery import Delivery
from shared.runtime.postgres import until_back

BATCH_SIZE = 8
"""An end holds a whole answer: 12 MiB at most, and three batches are fetched ahead."""
_RETRY_S = 0.5


class RunEnds:
    """Any edge takes any run's end. They wait in place for a database that is away."""

    def __init__(self, runs: RunStore) -> None:
        self._runs = runs

    async def on_ended(self, deliveries: Sequence[Delivery]) -> Verdicts:
        read = [_read(delivery) for delivery in deliveries]
        ends = [end for end in read if isinstance(end, RunEnded)]
        kept = await until_back(
            lambda: isolating(ends, self._keep), retry_s=_RETRY_S, what="the ends of runs"
        )
        errors = iter(kept)
        return [end if isinstance(end, PlatformError) else next(errors) for end in read]

    async def _keep(self, ends: Sequence[RunEnded]) -> Sequence[None]:
        """What takes too long together is written one by one, so that none keeps the others waiting."""
        try:
            await self._runs.end(ends)
        except DatabaseUnavailableError:
            await self._keep_each(ends)
        return [None] * len(ends)

    async def _keep_each(self, ends: Sequence[RunEnded]) -> None:
        """Raise DatabaseUnavailableError once all were tried, when one could not be written."""
        failure: DatabaseUnavailableError | None = None
        for end in ends:
            try:
                await self._runs.end([end])
            except DatabaseUnavailableError as error:
                failure = error
        if failure is not None:
            raise failure


def _read(delivery: Delivery) -> RunEnded | PlatformError:
    try:
        return delivery.read(RunEnded, senders=(INFERENCE,))
    except PlatformError as error:
        return error

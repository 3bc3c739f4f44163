"""The ends of kept runs, as inference tells them, into the edge's own table."""

from collections.abc import Sequence

from services.api_edge.ports import RunStore
from shared.contracts.runs import RunEnded
from shared.kernel.errors import DatabaseUnavailableError
from shared.kernel.isolation import isolating, past_refusals
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
        read = [delivery.read_or_refusal(RunEnded, senders=(INFERENCE,)) for delivery in deliveries]
        return await past_refusals(read, self._keep_all)

    async def _keep_all(self, ends: Sequence[RunEnded]) -> Verdicts:
        return await until_back(
            lambda: isolating(ends, self._keep), retry_s=_RETRY_S, what="the ends of runs"
        )

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

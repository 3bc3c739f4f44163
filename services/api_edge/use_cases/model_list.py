"""The list of models, remembered: OpenRouter's part is asked for beside the requests, never waited for."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.api_edge.domain.model_list import ModelInfo, merged
from services.api_edge.use_cases.background_refresh import BackgroundRefresh
from shared.contracts.models import ListedModel

_FRESH_S: Final = 6 * 3600.0
_RETRY_S: Final = 300.0

AskModels = Callable[[], Awaitable[Sequence[ListedModel]]]


@dataclass(frozen=True, slots=True)
class ModelListing:
    """`told_age_s`: how old OpenRouter's part is; None without one."""

    models: tuple[ModelInfo, ...]
    told_age_s: float | None


class ModelList:
    """A list that is old is better than none: it stays until there is a newer one. `clock` in seconds."""

    def __init__(
        self,
        shipped: tuple[str, ...],
        priced: Callable[[], tuple[ModelInfo, ...]],
        ask: AskModels,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._shipped = shipped
        self._priced = priced
        self._ask = ask
        self._clock = clock
        self._models: tuple[ModelInfo, ...] | None = None
        self._told_at: float | None = None
        self._refresh = BackgroundRefresh(self._read, every_s=_FRESH_S, retry_s=_RETRY_S, clock=clock)

    def __call__(self) -> ModelListing:
        self._refresh()
        if self._models is None:
            self._models = merged(self._shipped, self._priced(), ())
        age_s = None if self._told_at is None else self._clock() - self._told_at
        return ModelListing(self._models, age_s)

    async def _read(self) -> None:
        told = await self._ask()
        self._models = merged(self._shipped, self._priced(), told)
        self._told_at = self._clock()

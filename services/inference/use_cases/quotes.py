"""What models cost, for runs that nobody has to pay us for: asked beside the run, and never waited for."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from services.inference.domain.attempt import PriceAsked
from services.inference.ports import QuoteFinder
from shared.kernel.errors import PlatformError
from shared.kernel.names import KeyService

_FRESH_S: Final = 30.0
_KEPT_S: Final = 60.0
_RETRY_S: Final = 1.0
_MODELS_KEPT: Final = 1_000
_ASKED_AT_ONCE: Final = 32


@dataclass(slots=True)
class _Kept:
    """`known_at`: when billing said it, None until then; `due_at`: from when it may be asked (again)."""

    price: PriceAsked = field(default_factory=PriceAsked)
    known_at: float | None = None
    due_at: float = float("-inf")


class Quotes:
    """Remembers each model's quote, and asks for a new one after 30 s. `now` in seconds.

    A run takes one of up to 60 s as it is; an older one only if it ends before billing has answered. Without
    billing a model that was not asked for before has none, and nothing else is different.
    """

    def __init__(
        self, finder: QuoteFinder, *, timeout_s: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._finder = finder
        self._timeout_s = timeout_s
        self._now = now
        self._kept: OrderedDict[tuple[KeyService, str], _Kept] = OrderedDict()
        self._asking: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._kept)

    def ask(self, provider: KeyService, model: str) -> PriceAsked:
        """Return at once what is known of a price; what is not, is filled in when billing answers."""
        kept, now = self._place(provider, model), self._now()
        if kept.known_at is not None and now - kept.known_at > _KEPT_S:
            kept.price, kept.known_at = PriceAsked(last=kept.price.quote), None
        if now >= kept.due_at and len(self._asking) < _ASKED_AT_ONCE:
            kept.due_at = now + self._timeout_s + _RETRY_S
            asking = asyncio.create_task(self._find(kept, provider, model))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        return kept.price

    def _place(self, provider: KeyService, model: str) -> _Kept:
        kept = self._kept.setdefault((provider, model), _Kept())
        if len(self._kept) > _MODELS_KEPT:
            self._kept.popitem(last=False)
        return kept

    async def _find(self, kept: _Kept, provider: KeyService, model: str) -> None:
        try:
            quote = await self._finder.find(provider, model, timeout_s=self._timeout_s)
        except PlatformError:
            kept.due_at = self._now() + _RETRY_S
            return
        if kept.price.quote is None:
            kept.price.is_now(quote)
        elif kept.price.quote != quote:
            kept.price = PriceAsked(quote)  # runs that have begun keep what they began with
        kept.known_at = self._now()
        kept.due_at = kept.known_at + _FRESH_S

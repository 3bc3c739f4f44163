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
_CACHED_S: Final = 60.0
_RETRY_S: Final = 1.0
_MODELS_CACHED: Final = 1_000
_ASKED_AT_ONCE: Final = 32


@dataclass(slots=True)
class _CachedQuote:
    """`known_at`: when billing said it, None until then; `due_at`: from when it may be asked (again)."""

    price: PriceAsked = field(default_factory=PriceAsked)
    known_at: float | None = None
    due_at: float = float("-inf")


class Quotes:
    """Remembers each model's quote, and asks for a new one after 30 s. `clock` in seconds.

    A run takes one of up to 60 s as it is; an older one only if it ends before billing has answered. Without
    billing a model that was not asked for before has none, and nothing else is different.
    """

    def __init__(
        self, finder: QuoteFinder, *, timeout_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._finder = finder
        self._timeout_s = timeout_s
        self._clock = clock
        self._cached: OrderedDict[tuple[KeyService, str], _CachedQuote] = OrderedDict()
        self._asking: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._cached)

    def ask(self, provider: KeyService, model: str) -> PriceAsked:
        """Return at once what is known of a price; what is not, is filled in when billing answers."""
        cached, now = self._place(provider, model), self._clock()
        if cached.known_at is not None and now - cached.known_at > _CACHED_S:
            cached.price, cached.known_at = PriceAsked(last=cached.price.quote), None
        if now >= cached.due_at and len(self._asking) < _ASKED_AT_ONCE:
            cached.due_at = now + self._timeout_s + _RETRY_S
            asking = asyncio.create_task(self._find(cached, provider, model))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        return cached.price

    def _place(self, provider: KeyService, model: str) -> _CachedQuote:
        cached = self._cached.setdefault((provider, model), _CachedQuote())
        if len(self._cached) > _MODELS_CACHED:
            self._cached.popitem(last=False)
        return cached

    async def _find(self, cached: _CachedQuote, provider: KeyService, model: str) -> None:
        try:
            quote = await self._finder.find(provider, model, timeout_s=self._timeout_s)
        except PlatformError:
            cached.due_at = self._clock() + _RETRY_S
            return
        if cached.price.quote is None:
            cached.price.is_now(quote)
        elif cached.price.quote != quote:
            cached.price = PriceAsked(quote)  # runs that have begun keep what they began with
        cached.known_at = self._clock()
        cached.due_at = cached.known_at + _FRESH_S

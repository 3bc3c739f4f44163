"""What may be started now: so much at once, and nothing while too many wait already."""

from collections.abc import Awaitable, Callable

from services.api_edge.domain.chat import OpenAICall
from services.api_edge.domain.errors import OverLimitError
from services.api_edge.domain.sizes import Sizes
from services.api_edge.use_cases.back_pressure import BackPressure
from services.api_edge.use_cases.places import GiveBack, Places


class RunGuard:
    """`at_once_max`: runs of one user, 0 for no limit: those that are waited for at this edge, and those
    that are kept, at all edges together.
    """

    def __init__(self, back_pressure: BackPressure, sizes: Sizes, *, at_once_max: int) -> None:
        self._back_pressure = back_pressure
        self._sizes = sizes
        self._at_once_max = at_once_max
        self._places = Places(at_once_max)

    def check(self, call: OpenAICall) -> None:
        """Raise ServiceUnavailableError when too many runs wait, BadInputError for too large a call."""
        self._back_pressure.check()
        self._sizes.check(call)

    def take_place(self, user_id: str) -> GiveBack:
        """Return what gives the place back, however often it is called. Raises OverLimitError."""
        return self._places.take(user_id)

    async def check_kept(self, going_on: Callable[[], Awaitable[int]]) -> None:
        """Kept runs go on without their client, so they are counted where they are kept.

        Raises OverLimitError.
        """
        if self._at_once_max and await going_on() >= self._at_once_max:
            raise OverLimitError

"""So much at once for each user."""

from collections import Counter
from collections.abc import Callable

from services.api_edge.domain.errors import OverLimitError

GiveBack = Callable[[], None]


class Places:
    """`at_once_max`: places of one user, 0 for no limit."""

    def __init__(self, at_once_max: int) -> None:
        self._at_once_max = at_once_max
        self._at_once: Counter[str] = Counter()

    def take(self, user_id: str) -> GiveBack:
        """Return what gives the place back, however often it is called. Raises OverLimitError."""
        if self._at_once_max and self._at_once[user_id] >= self._at_once_max:
            raise OverLimitError
        self._at_once[user_id] += 1
        taken = True

        def give_back() -> None:
            nonlocal taken
            if taken:
                taken = False
                self._leave(user_id)

        return give_back

    def _leave(self, user_id: str) -> None:
        self._at_once[user_id] -= 1
        if not self._at_once[user_id]:
            del self._at_once[user_id]

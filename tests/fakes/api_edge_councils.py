"""The edge's councils in memory."""

from dataclasses import replace
from datetime import datetime
from uuid import UUID

from services.api_edge.domain.council import Council
from shared.kernel.errors import PlatformError
from tests.fakes.ages import at_least_a_day_ago


class InMemoryCouncilStore:
    def __init__(self) -> None:
        self.kept: dict[UUID, Council] = {}
        self.error: PlatformError | None = None

    async def keep(self, council: Council) -> Council | None:
        self._check()
        for other in self.kept.values():
            if council.idempotency and _key(other) == _key(council):
                return other
        self.kept[council.council_id] = council
        return None

    async def find(self, user_id: str, council_id: UUID) -> Council | None:
        self._check()
        council = self.kept.get(council_id)
        return council if council and council.user_id == user_id else None

    async def page(
        self, user_id: str, *, limit: int, before: UUID | None, session_id: str | None
    ) -> tuple[Council, ...]:
        self._check()
        own = [
            council
            for council_id, council in sorted(self.kept.items(), reverse=True)
            if council.user_id == user_id
            and (before is None or council_id < before)
            and session_id in {None, council.session_id}
        ]
        return tuple(own[:limit])

    async def close(self, council_id: UUID, *, free: bool = False) -> None:
        self._check()
        council = self.kept[council_id]
        self.kept[council_id] = replace(
            council, question=None, idempotency=None if free else council.idempotency
        )

    async def sweep(self, late_before: datetime) -> int:
        self._check()
        late = [one for one in self.kept.values() if one.question and one.deadline < late_before]
        for council in late:
            await self.close(council.council_id)
        return len(late)

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        self._check()
        before = at_least_a_day_ago(born_before)
        old = sorted(one for one, council in self.kept.items() if one < before and not council.question)
        for council_id in old[:limit]:
            del self.kept[council_id]
        return len(old[:limit])

    def _check(self) -> None:
        if self.error:
            raise self.error


def _key(council: Council) -> tuple[str, str | None]:
    return council.user_id, council.idempotency.key if council.idempotency else None

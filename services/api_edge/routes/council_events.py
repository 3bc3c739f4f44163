"""`GET /api/councils/{id}/events`: every member's answer as it comes, then the one that is made of them."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
from starlette.types import Receive, Scope, Send

from services.api_edge.domain.council import Council, CouncilMember
from services.api_edge.domain.errors import BadInputError, EdgeClosingError
from services.api_edge.domain.sse import event_frame
from services.api_edge.problems import Occasion, Problems
from services.api_edge.routes.council_views import council_metadata, left_out, spent_view
from services.api_edge.routes.key_usage import METADATA, run_metadata, session_view, usage_view
from services.api_edge.routes.run_events import LAST_EVENT_ID, event_number
from services.api_edge.routes.run_views import answer_view
from services.api_edge.routes.run_watch import SLOW_CLIENT_S, until_gone
from services.api_edge.routes.server_sent_events import ServerSentEvents, send_events
from services.api_edge.use_cases.follow_council import FollowCouncil
from services.api_edge.use_cases.hearing import Hearing
from services.api_edge.use_cases.merging import merged
from services.api_edge.use_cases.session_usage import SessionUsage
from shared.contracts.runs import RunCompleted, RunEnded
from shared.kernel.errors import PlatformError, RunCancelledError


@dataclass(frozen=True, slots=True)
class _Told:
    """`place`: the member's, or the synthesis' after them; `number`: counts up in each place."""

    place: int
    number: int
    name: str
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Telling:
    """What it takes to tell of councils."""

    follow: FollowCouncil
    problems: Problems
    sessions: SessionUsage


class CouncilEvents(ServerSentEvents):
    """An event's id says how far each run was told: `after` is the last one that the client has had."""

    def __init__(
        self, council: Council, telling: Telling, occasion: Occasion, *, after: tuple[int, ...]
    ) -> None:
        self._council = council
        self._follow = telling.follow
        self._problems = telling.problems
        self._sessions = telling.sessions
        self._occasion = occasion
        self._heard = list(after)
        self._ends: dict[UUID, RunCompleted | RunEnded] = {}
        self._error: PlatformError | None = None
        super().__init__()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.begin(send)
        left_s = (self._council.deadline - datetime.now(UTC)).total_seconds()
        await until_gone(
            receive, send_events(self._frames(scope), send), timeout_s=max(left_s, 0.0) + SLOW_CLIENT_S
        )

    async def _frames(self, scope: Scope) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._events(scope)) as events:
                async for told in events:
                    if told.number > self._heard[told.place]:
                        self._heard[told.place] = told.number
                        event_id = ".".join(map(str, self._heard))
                        yield event_frame(event_id, told.name, orjson.dumps(told.data))
        except EdgeClosingError:
            return  # the council goes on: its client comes back, to another edge

    async def _events(self, scope: Scope) -> AsyncGenerator[_Told, None]:
        members = [self._member(place, member) for place, member in enumerate(self._council.members)]
        async with aclosing(merged(members)) as events:
            async for told in events:
                yield told
        async with aclosing(self._synthesis(scope)) as events:
            async for told in events:
                yield told

    async def _member(self, place: int, member: CouncilMember) -> AsyncGenerator[_Told, None]:
        who = {"member": place, "model": member.model}
        if member.run_id is None:
            yield _Told(
                place, 1, "member_skipped", {**who, **left_out(member, self._problems, self._occasion)}
            )
            return
        try:
            async with self._follow.hearing(self._council, member.run_id) as hearing:
                async for piece in hearing.pieces():
                    yield _Told(place, piece.number, "member_chunk", {**who, **piece.data})
                self._ends[member.run_id] = hearing.end
                last = hearing.transcript.last(1, "member_completed", {**who, **_answer(hearing)})
                yield _Told(place, last.number, last.name, last.data)
        except EdgeClosingError:
            raise
        except PlatformError as error:
            self._error = self._error or error
            problem = self._problems.problem(error, self._occasion)
            yield _Told(place, self._heard[place] + 1, "member_failed", {**who, **problem})

    async def _synthesis(self, scope: Scope) -> AsyncGenerator[_Told, None]:
        council, place = self._council, len(self._council.members)
        try:
            if not await self._follow.has_synthesis(council):
                cancelled = RunCancelledError("the council was ended before its answer")
                raise cancelled if self._ends or self._error is None else self._error
            async with self._follow.hearing(council, council.synthesis_id) as hearing:
                async for piece in hearing.pieces():
                    yield _Told(place, piece.number, "message_chunk", piece.data)
                self._ends[council.synthesis_id] = hearing.end
                for nth, (name, data) in enumerate(await self._last(hearing), start=1):
                    yield _Told(place, hearing.transcript.last(nth, name, data).number, name, data)
        except EdgeClosingError:
            raise
        except PlatformError as error:
            scope["state"]["error_code"] = error.code
            yield _Told(place, self._heard[place] + 1, "error", self._problems.problem(error, self._occasion))

    async def _last(self, hearing: Hearing) -> tuple[tuple[str, dict[str, Any]], ...]:
        council, ends = self._council, await self._all_ends()
        final = {**answer_view(hearing.transcript), METADATA: council_metadata(council, ends)}
        session = await self._sessions(
            council.user_id, council.session_id, council.synthesis_id, hearing.end.usage
        )
        usage = {"id": str(council.council_id), **spent_view(ends), **session_view(session)}
        return ("final_response", final), ("usage", usage)

    async def _all_ends(self) -> list[RunCompleted | RunEnded]:
        """Those that were heard, and those that were kept of runs that failed, in the members' order."""
        kept = {
            run_id: run.end for run_id, run in (await self._follow.runs(self._council)).items() if run.end
        }
        ends = {**kept, **self._ends}
        ids = [member.run_id for member in self._council.members] + [self._council.synthesis_id]
        return [ends[run_id] for run_id in ids if run_id in ends]


def read_place(value: str | None, council: Council) -> tuple[int, ...]:
    """Read a `Last-Event-ID`. Raises BadInputError for one that no event of this council has."""
    places = len(council.members) + 1
    if value is None:
        return (0,) * places
    numbers = value.strip().split(".")
    if len(numbers) != places:
        raise BadInputError("wrong_value", LAST_EVENT_ID)
    return tuple(map(event_number, numbers))


def _answer(hearing: Hearing) -> dict[str, Any]:
    end = hearing.end
    return {
        **answer_view(hearing.transcript),
        **usage_view(end.usage),
        METADATA: run_metadata(hearing.run.run_id, end),
    }

"""See to it that a council comes to its one answer, whether anybody listens or not."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from services.api_edge.domain.chat import OpenAICall
from services.api_edge.domain.council import Answer, Council, CouncilMember, Question, answer_of, with_answers
from services.api_edge.domain.errors import EdgeClosingError, OverLimitError
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.sizes import Sizes
from services.api_edge.domain.start_run import StartRun
from services.api_edge.ports import CouncilStore
from services.api_edge.use_cases.follow_council import FollowCouncil, NotAskedError
from services.api_edge.use_cases.hearing import Hearing
from services.api_edge.use_cases.start_run import StartRunUseCase
from shared.kernel.errors import (
    DatabaseUnavailableError,
    InvalidRequestError,
    PlatformError,
    ServiceUnavailableError,
)

_PATIENCE_S: Final = 5.0
_RETRY_S: Final = 1.0
GivenUp = Callable[[UUID, Exception], None]

_NOTHING: Final[Mapping[str, str]] = {}


@dataclass(frozen=True, slots=True)
class _Holding:
    """`headers`: of the request that called the council, keys included. They are on no other edge."""

    council: Council
    headers: Mapping[str, str]
    timeout_s: float | None
    patience_s: float


class HoldCouncil:
    """Where a council was called it is held; any other edge that is asked for it holds it, too, and waits a
    while for the first. The synthesis has its id from the beginning on: whoever asks for it, it is one run.
    """

    def __init__(
        self,
        *,
        councils: CouncilStore,
        follow: FollowCouncil,
        start: StartRunUseCase,
        sizes: Sizes,
        given_up: GivenUp,
    ) -> None:
        self._councils = councils
        self._follow = follow
        self._start = start
        self._sizes = sizes
        self._given_up = given_up
        self._held: dict[UUID, asyncio.Task[None]] = {}

    def called(self, council: Council, headers: Mapping[str, str], timeout_s: float | None) -> None:
        """Hold a council that was called here, instead of whoever holds it without its headers."""
        if (held := self._held.get(council.council_id)) is not None:
            held.cancel()
        self._begin(_Holding(council, headers, timeout_s, patience_s=0.0))

    def asked_for(self, council: Council) -> None:
        """Hold a council that somebody asks for, unless it is held here already."""
        if council.council_id not in self._held:
            self._begin(_Holding(council, _NOTHING, None, _PATIENCE_S))

    def _begin(self, holding: _Holding) -> None:
        council_id = holding.council.council_id
        if holding.council.question is None:
            return
        task = self._held[council_id] = asyncio.create_task(self._hold(holding))
        task.add_done_callback(partial(self._let_go, council_id))

    def _let_go(self, council_id: UUID, task: asyncio.Task[None]) -> None:
        if self._held.get(council_id) is task:
            del self._held[council_id]

    async def _hold(self, holding: _Holding) -> None:
        council = holding.council
        try:
            answers = await self._answers(council)
            await asyncio.sleep(holding.patience_s)
            await self._ask(holding, answers)
        except EdgeClosingError:
            return  # another edge will be asked for it
        except Exception as error:  # noqa: BLE001 - nobody waits for this task
            self._given_up(council.council_id, error)

    async def _ask(self, holding: _Holding, answers: Sequence[Answer]) -> None:
        while True:
            if await self._is_asked(holding, answers):
                return
            await asyncio.sleep(max(_RETRY_S, holding.patience_s))

    async def _answers(self, council: Council) -> list[Answer]:
        told = await asyncio.gather(*(self._answer(council, member) for member in council.members))
        return [answer for answer in told if answer is not None]

    async def _answer(self, council: Council, member: CouncilMember) -> Answer | None:
        if member.run_id is None:
            return None
        async with AsyncExitStack() as opened:
            try:
                hearing = await self._opened(opened, council, member.run_id)
                async for _ in hearing.pieces():
                    pass
                return answer_of(member.model, hearing.transcript)
            except EdgeClosingError:
                raise
            except PlatformError:
                return None

    async def _opened(self, opened: AsyncExitStack, council: Council, run_id: UUID) -> Hearing:
        """Hear a member's run, as soon as the database and a place here can be had, until the deadline."""
        while True:
            try:
                return await opened.enter_async_context(self._follow.hearing(council, run_id))
            except (NotAskedError, EdgeClosingError):
                raise
            except (DatabaseUnavailableError, ServiceUnavailableError, OverLimitError):
                if datetime.now(UTC) > council.deadline:
                    raise
            await asyncio.sleep(_RETRY_S)

    async def _is_asked(self, holding: _Holding, answers: Sequence[Answer]) -> bool:
        """Ask for the synthesis; say whether there is nothing more to be done."""
        council = holding.council
        try:
            found = await self._councils.find(council.user_id, council.council_id)
            if found is None or found.question is None:
                return True
            if answers:
                body = with_answers(found.question.body, answers, chars_max=self._sizes.message_chars)
                (await self._start(_synthesis(holding, found.question, body))).close()
            await self._councils.close(council.council_id)
        except InvalidRequestError:
            await self._councils.close(council.council_id)
            raise
        except PlatformError:
            return datetime.now(UTC) > council.deadline
        return True


def _synthesis(holding: _Holding, question: Question, body: dict[str, Any]) -> StartRun:
    council = holding.council
    call = OpenAICall(question.model, stream=True, include_usage=True, body=body)
    return StartRun(
        council.synthesis_id,
        Caller(council.user_id, question.role),
        call,
        question.flow,
        holding.headers,
        kind=RunKind.STREAM,
        session_id=council.session_id,
        kept=True,
        timeout_s=holding.timeout_s,
        is_insistent=True,
        council_id=council.council_id,
    )

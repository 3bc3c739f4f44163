"""Call a council: decide who can answer, start their runs, see to it that one answer comes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.api_edge.domain.catalogue import Catalogue, Model
from services.api_edge.domain.chat import OpenAICall
from services.api_edge.domain.council import (
    Council,
    CouncilCall,
    CouncilMember,
    Question,
    with_shortest_answers,
)
from services.api_edge.domain.flows import Flow
from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.request_keys import check_is_for_all, sent_keys
from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.run_times import RunTimes
from services.api_edge.domain.sizes import Sizes
from services.api_edge.domain.start_run import StartRun
from services.api_edge.domain.usable_keys import is_served
from services.api_edge.ports import CouncilStore, KeyVault
from services.api_edge.use_cases.decide_run import DecideRun
from services.api_edge.use_cases.follow_council import FollowCouncil
from services.api_edge.use_cases.follow_run import check_same
from services.api_edge.use_cases.hold_council import HoldCouncil
from services.api_edge.use_cases.start_run import StartRunUseCase
from shared.contracts.keys import KeyStatus
from shared.kernel.errors import UserApiKeyRequiredError
from shared.kernel.ids import new_id


@dataclass(frozen=True, slots=True)
class CallCouncil:
    """`headers`: the request's, names in lower case; a key among them is for all its runs that it can
    serve.
    """

    council_id: UUID
    caller: Caller
    call: CouncilCall
    flow: str | None
    headers: Mapping[str, str]
    session_id: str | None = None
    idempotency: Idempotency | None = None
    timeout_s: float | None = None


class CallCouncilUseCase:
    def __init__(
        self,
        *,
        catalogue: Catalogue,
        key_vault: KeyVault,
        councils: CouncilStore,
        decide: DecideRun,
        start: StartRunUseCase,
        follow: FollowCouncil,
        hold: HoldCouncil,
        sizes: Sizes,
        times: RunTimes,
    ) -> None:
        self._catalogue = catalogue
        self._key_vault = key_vault
        self._councils = councils
        self._decide = decide
        self._start = start
        self._follow = follow
        self._hold = hold
        self._sizes = sizes
        self._times = times

    async def __call__(self, command: CallCouncil) -> Council:
        """Return the council once its members are asked; with an idempotency key, the one that has it.

        Raises UserApiKeyRequiredError when no member has a usable key, ConflictError for an idempotency key
        of another request, and what starting a run raises.
        """
        council = await self._convened(command)
        before = await self._keep(council)
        if before is not None:
            check_same(before.idempotency, command.idempotency)
            return before
        try:
            for member in council.members:
                await self._ask(member, command)
        except BaseException:
            await self._follow.cancel(council, free=True)
            raise
        self._hold.called(council, command.headers, command.timeout_s)
        return council

    async def _keep(self, council: Council) -> Council | None:
        """Keep a council; return the one that has its idempotency key instead, unless that is free."""
        before = await self._councils.keep(council)
        if before is not None and await self._follow.is_free(before, council.created_at):
            await self._follow.cancel(before, free=True)
            before = await self._councils.keep(council)
        return before

    async def _convened(self, command: CallCouncil) -> Council:
        caller, now, synthesis_id = command.caller, datetime.now(UTC), new_id()
        models = [self._catalogue.find(name, "members") for name in command.call.members]
        last, flow, last_model = await self._decide(_run(command, synthesis_id, command.call.call))
        self._check(command, last.call, [*models, last_model])
        status = await self._key_vault.status(caller.user_id)
        members = tuple(_member(model, flow, status, command.headers) for model in models)
        if all(member.run_id is None for member in members):
            raise UserApiKeyRequiredError(service=members[0].service)
        run_s = self._times.for_client(command.timeout_s)
        return Council(
            council_id=command.council_id,
            user_id=caller.user_id,
            members=members,
            synthesis_id=synthesis_id,
            created_at=now,
            deadline=now + timedelta(seconds=2 * run_s),
            session_id=command.session_id,
            idempotency=command.idempotency,
            question=Question(last_model.id, command.flow, caller.role, last.call.body),
        )

    def _check(self, command: CallCouncil, last: OpenAICall, models: Sequence[Model]) -> None:
        """Refuse keys or a last chat that cannot be, before the members are asked for nothing."""
        *members, synthesis = models
        check_is_for_all(command.headers, [model.provider for model in models])
        sent_keys(command.headers, synthesis.provider)
        body = with_shortest_answers(last.body, [member.id for member in members])
        self._sizes.check(replace(last, body=body))

    async def _ask(self, member: CouncilMember, command: CallCouncil) -> None:
        if member.run_id is not None:
            call = replace(command.call.call, model=member.model)
            (await self._start(_run(command, member.run_id, call))).close()


def _run(command: CallCouncil, run_id: UUID, call: OpenAICall) -> StartRun:
    return StartRun(
        run_id,
        command.caller,
        call,
        command.flow,
        command.headers,
        kind=RunKind.STREAM,
        session_id=command.session_id,
        kept=True,
        timeout_s=command.timeout_s,
        council_id=command.council_id,
    )


def _member(model: Model, flow: Flow, status: KeyStatus, headers: Mapping[str, str]) -> CouncilMember:
    sent = sent_keys(headers, model.provider, in_council=True)
    can_answer = sent.any or is_served(model.provider, flow, status)
    return CouncilMember(model.id, model.provider, new_id() if can_answer else None)

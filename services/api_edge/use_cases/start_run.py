"""Start a run: decide flow and model, seal the client's key, record it, ask the workers."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.api_edge.domain.catalogue import Catalogue, Model
from services.api_edge.domain.chat import OpenAICall, with_preferred
from services.api_edge.domain.flows import Flow, run_terms
from services.api_edge.domain.idempotency import Idempotency
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.request_keys import SentKey, sent_keys
from services.api_edge.domain.run_call import RunKind
from services.api_edge.domain.runs import KeptRun, RunRecord
from services.api_edge.ports import PreferenceStore, RunBus, RunStore, Sealer
from services.api_edge.use_cases.active_run import ActiveRun
from services.api_edge.use_cases.follow_run import FollowRun, check_same, is_free
from services.api_edge.use_cases.known_flows import KnownFlows
from services.api_edge.use_cases.run_guard import RunGuard
from services.api_edge.use_cases.running import Running
from services.api_edge.use_cases.seal_key import seal_key
from services.api_edge.use_cases.waiting_runs import WaitingRuns
from shared.contracts.runs import RunRequested
from shared.contracts.sealed import RequestKey
from shared.kernel.errors import PlatformError
from shared.kernel.names import Operation


@dataclass(frozen=True, slots=True)
class RunTimes:
    """`start_s`: how long a run may wait for a worker; `run_s`: how long it may take in all."""

    start_s: float
    run_s: float

    def for_client(self, timeout_s: float | None) -> float:
        """Return how long a run may take; a client may have it shorter."""
        return self.run_s if timeout_s is None else min(timeout_s, self.run_s)

    def is_sooner(self, timeout_s: float | None) -> bool:
        """Whether a client wants a run to end before we would."""
        return self.for_client(timeout_s) < self.run_s


@dataclass(frozen=True, slots=True)
class StartRun:
    """`headers`: the request's, names in lower case. `kept`: the client may come back for it; so it may with
    an idempotency key.
    """

    run_id: UUID
    caller: Caller
    call: OpenAICall
    flow: str | None
    headers: Mapping[str, str]
    kind: RunKind = RunKind.CHAT
    session_id: str | None = None
    kept: bool = False
    idempotency: Idempotency | None = None
    timeout_s: float | None = None
    """The client's own, when it is shorter than ours."""
    is_insistent: bool = False
    """Whoever starts it starts it again until the workers have it: when they cannot be asked, it stays kept.
    What came unconfirmed may come late, so it may begin as late as its deadline.
    """
    council_id: UUID | None = None
    """The council that it is a run of: its headers came for runs at other providers, too."""


class StartRunUseCase:
    def __init__(
        self,
        *,
        flows: KnownFlows,
        catalogue: Catalogue,
        preferences: PreferenceStore,
        runs: RunStore,
        sealer: Sealer,
        bus: RunBus,
        waiting: WaitingRuns,
        follow: FollowRun,
        guard: RunGuard,
        times: RunTimes,
    ) -> None:
        self._flows = flows
        self._catalogue = catalogue
        self._preferences = preferences
        self._runs = runs
        self._sealer = sealer
        self._bus = bus
        self._waiting = waiting
        self._follow = follow
        self._guard = guard
        self._times = times

    async def __call__(self, command: StartRun) -> Running:
        """Return the run once the workers have it; with an idempotency key, the one that has it already.

        Raises BadInputError, ForbiddenError, UserApiKeyRequiredError, VaultUnavailableError (a key was sent
        and cannot be sealed), DatabaseUnavailableError, BusUnavailableError; with too many runs at once
        OverLimitError (the caller's) or ServiceUnavailableError (everybody's); and ConflictError for an
        idempotency key of another request.
        """
        self._guard.check(command.call)
        command, flow, model = await self.decided(command)
        message = self._message(command, flow, model)
        if message.kept:
            return await self._keep(command, message)
        return await self._start(command, message)

    async def decided(self, command: StartRun) -> tuple[StartRun, Flow, Model]:
        """Return a run with its user's own parameters, its flow, and the model that it takes."""
        flow = (await self._flows()).named(command.flow, command.caller.role)
        command = await self._with_preferences(command)
        asked = command.call.model
        return command, flow, self._catalogue.find(flow.default_model if asked is None else asked)

    async def _with_preferences(self, command: StartRun) -> StartRun:
        """A run that names neither model nor flow takes its user's own; the body's parameters go first."""
        call = command.call
        is_chat = call.operation is Operation.CHAT
        if call.model is not None or command.flow is not None or not is_chat or command.caller.is_anonymous:
            return command
        chosen = await self._preferences.find(command.caller.user_id)
        if chosen.model is None:
            return command
        provider = self._catalogue.find(chosen.model).provider
        body = with_preferred(call.body, chosen.parameters, provider)
        return replace(command, call=replace(call, model=chosen.model, body=body))

    async def _keep(self, command: StartRun, message: RunRequested) -> Running:
        kept = _kept(command, message)
        before = await self._before(kept)
        if before is None:
            return await self._ask(command, kept, message)
        if command.is_insistent and before.outcome is None:
            times = {"start_by": before.start_by, "deadline": before.deadline}
            return await self._ask(command, before, message.model_copy(update=times))
        check_same(before.idempotency, command.idempotency)
        return await self._follow.kept(before)

    async def _ask(self, command: StartRun, kept: KeptRun, message: RunRequested) -> Running:
        run = self._follow.own(kept)
        try:
            await self._bus.request(message)
        except BaseException:
            run.close()
            if not command.is_insistent:
                # Unconfirmed, it may have reached a worker all the same.
                self._bus.cancel(command.run_id)
                await self._runs.free(command.run_id)
            raise
        return run

    async def _before(self, run: KeptRun) -> KeptRun | None:
        """Keep a run; return the one that has its id or its key instead. Only a new one is too many."""
        async with self._guard.turn(run.record.user_id) as at_once_max:
            before = await self._runs.keep(run, at_once_max)
            if before is not None and is_free(before, run.created_at):
                await self._runs.free(before.record.run_id)
                before = await self._runs.keep(run, at_once_max)
        return before

    async def _start(self, command: StartRun, message: RunRequested) -> ActiveRun:
        run = self._wait(command)
        try:
            await self._runs.add(_record(message))
            run.asked = True
            await self._bus.request(message)
        except BaseException:
            # Unconfirmed, it may have reached a worker all the same: closing cancels it.
            run.close()
            raise
        return run

    def _wait(self, command: StartRun) -> ActiveRun:
        run_id = command.run_id

        def close(cancel: bool) -> None:  # noqa: FBT001
            give_back()
            self._waiting.close(run_id, inbox)
            if cancel:
                self._bus.cancel(run_id)

        give_back = self._guard.take_place(command.caller.user_id)
        try:
            inbox = self._waiting.open(run_id)
        except PlatformError:
            give_back()
            raise
        now, run_s = asyncio.get_running_loop().time(), self._times.for_client(command.timeout_s)
        start_by = now + min(self._times.start_s, run_s)
        return ActiveRun(run_id, inbox, start_by=start_by, deadline=now + run_s, close=close)

    def _message(self, command: StartRun, flow: Flow, model: Model) -> RunRequested:
        now, run_s = datetime.now(UTC), self._times.for_client(command.timeout_s)
        start_s = run_s if command.is_insistent else min(self._times.start_s, run_s)
        sent = sent_keys(command.headers, model.provider, in_council=command.council_id is not None)
        terms = run_terms(flow, command.caller, model.provider, has_key=sent.any)
        return RunRequested(
            run_id=command.run_id,
            user_id=command.caller.user_id,
            flow=flow.name,
            policy=terms.policy,
            provider=model.provider,
            model=model.id,
            stream=command.call.stream,
            operation=command.call.operation,
            body=command.call.body,
            request_key=self._sealed(command, sent.plain, now),
            session_key=self._sealed(command, sent.session, now),
            report_only=terms.report_only,
            reply_to=self._bus.reply_to,
            requested_at=now,
            start_by=now + timedelta(seconds=start_s),
            deadline=now + timedelta(seconds=run_s),
            deadline_asked=self._times.is_sooner(command.timeout_s),
            kept=command.kept or command.idempotency is not None,
            session_id=command.session_id,
        )

    def _sealed(self, command: StartRun, sent: SentKey | None, now: datetime) -> RequestKey | None:
        if sent is None:
            return None
        sealed = seal_key(
            self._sealer, sent, "request", user_id=command.caller.user_id, run_id=command.run_id, now=now
        )
        return RequestKey(service=sent.service, sealed=sealed, base_url=sent.base_url)


def _record(message: RunRequested) -> RunRecord:
    return RunRecord(message.run_id, message.user_id, message.flow, message.model, message.stream)


def _kept(command: StartRun, message: RunRequested) -> KeptRun:
    return KeptRun(
        record=_record(message),
        kind=command.kind,
        created_at=message.requested_at,
        start_by=message.start_by,
        deadline=message.deadline,
        session_id=message.session_id,
        council_id=command.council_id,
        idempotency=command.idempotency,
    )

"""One attempt: resolve the key, have credits held when it is the platform's, call the provider, relay."""

import asyncio
import time
from contextlib import aclosing

from services.inference.domain.attempt import Attempt, Ending, PriceAsked
from services.inference.domain.estimates import completion_tokens_max, prompt_size
from services.inference.domain.failures import CURABLE, UNAVAILABLE
from services.inference.domain.meter import Meter
from services.inference.domain.priceable import check_priceable
from services.inference.domain.provider_usage import provider_cost_usd
from services.inference.ports import (
    AttemptStore,
    KeyResolver,
    Provider,
    ProviderCall,
    ResolvedKey,
    RunAuthorizer,
)
from services.inference.use_cases.limits import Limits
from services.inference.use_cases.quotes import Quotes
from services.inference.use_cases.relay import ChunkRelay
from services.inference.use_cases.revocations import Revocations, key_revoked
from services.inference.use_cases.run import Run, Stop, StoppedError
from shared.contracts.billing import AuthorizeRun
from shared.kernel.errors import (
    InsufficientCreditsError,
    PlatformError,
    ProviderTimeoutError,
    RunCancelledError,
    ServiceUnavailableError,
    WorkerLostError,
)
from shared.kernel.names import INFERENCE, KeyPolicy, Outcome
from shared.kernel.prices import Quote


class ClaimLostError(Exception):
    """Somebody else has ended the attempt: this worker was thought dead. Nothing may be called any more."""


class TryAttempt:
    def __init__(
        self,
        *,
        resolver: KeyResolver,
        authorizer: RunAuthorizer,
        quotes: Quotes,
        provider: Provider,
        store: AttemptStore,
        revocations: Revocations,
        limits: Limits,
    ) -> None:
        self._resolver = resolver
        self._authorizer = authorizer
        self._quotes = quotes
        self._provider = provider
        self._store = store
        self._revocations = revocations
        self._limits = limits

    async def prepare(self, run: Run, attempt: Attempt) -> ResolvedKey | PlatformError | None:
        """Take a key before the attempt is claimed, so that it is written down with the claim.

        Return why there is none; None when the run was stopped meanwhile.
        """
        try:
            async with run.on_leash():
                return await self.resolve(run, attempt)
        except PlatformError as refusal:
            return refusal
        except StoppedError:
            return None

    async def __call__(
        self, run: Run, attempt: Attempt, key: ResolvedKey | PlatformError | None = None
    ) -> Ending:
        """Return how it ended, whatever happened. `key`: what `prepare` returned, and was claimed with.

        Raises ClaimLostError before anything was called.
        """
        meter = Meter(run.request.body)
        relay = ChunkRelay(run.tell_chunks, linger_s=self._limits.linger_s)
        try:
            async with run.on_leash():
                if isinstance(key, PlatformError):
                    raise key
                run.check_room()
                self._ask_price(run, attempt)
                key = key or await self._take_key(run, attempt)
                ceiling = await self._authorize(run, attempt, key)
                await run.progress.begin(attempt.number, key.used.source)
                response = await self._call(run, key, ceiling, meter, relay)
        except StoppedError as stopped:
            ending = _stopped(stopped.reason, meter, is_asked=run.request.deadline_asked)
        except PlatformError as error:
            ending = _failed(error, meter, curable=isinstance(error, CURABLE) and not meter.received)
        else:
            ending = _completed(response, meter)
        finally:
            run.credential_id = None
        await relay.finish()
        return ending

    async def resolve(self, run: Run, attempt: Attempt) -> ResolvedKey:
        """Take a key that has not failed in this run. Raises what key_vault refuses with."""
        began = time.monotonic()
        key = await self._resolver.resolve(
            run.request, attempt.number, excluding=run.excluding, timeout_s=self._patience(run)
        )
        attempt.resolve_ms = round((time.monotonic() - began) * 1000)
        self._revocations.check(key.used.credential_id)
        run.credential_id = key.used.credential_id
        attempt.key = key.used
        return key

    def _ask_price(self, run: Run, attempt: Attempt) -> None:
        """Beside all else: a run on a key of one's own waits for billing neither here nor at its end."""
        if run.request.policy is not KeyPolicy.PLATFORM_ONLY:
            attempt.price = self._quotes.ask(run.request.provider, run.request.model)

    async def _take_key(self, run: Run, attempt: Attempt) -> ResolvedKey:
        key = await self.resolve(run, attempt)
        if not await self._store.note_key(attempt):
            raise ClaimLostError
        return key

    async def _authorize(self, run: Run, attempt: Attempt, key: ResolvedKey) -> int | None:
        """Return the ceiling to send to the provider: None for a key of the user's own, or no charge."""
        request = run.request
        if key.used.source.is_byok or request.policy is KeyPolicy.SYSTEM:
            return None
        check_priceable(request.model, request.body, request.operation)
        ceiling = self._limits.completion_tokens_ceiling
        ask = AuthorizeRun(
            run_id=request.run_id,
            attempt=attempt.number,
            user_id=request.user_id,
            provider=request.provider,
            model=request.model,
            prompt_tokens_max=prompt_size(request.body).tokens_max(request.model),
            completion_tokens_max=completion_tokens_max(request.body, ceiling, request.operation),
            expires_at=request.deadline + self._limits.hold_slack,
        )
        attempt.price = PriceAsked(await self._hold(run, ask))
        return ceiling

    async def _hold(self, run: Run, ask: AuthorizeRun) -> Quote | None:
        """The hold of an attempt that failed before is free again once billing has its usage event."""
        for pause_s in self._limits.hold_pauses_s if run.has_used_credits else ():
            try:
                return await self._authorizer.authorize(ask, timeout_s=self._patience(run))
            except InsufficientCreditsError:
                await asyncio.sleep(pause_s)
        return await self._authorizer.authorize(ask, timeout_s=self._patience(run))

    async def _call(
        self, run: Run, key: ResolvedKey, ceiling: int | None, meter: Meter, relay: ChunkRelay
    ) -> str | None:
        request = run.request
        call = ProviderCall(
            key,
            request.model,
            request.body,
            ceiling,
            request.operation,
            on_request_id=meter.name,
            on_sent=meter.send,
            run_id=request.run_id,
            openai_headers=request.openai_headers,
        )
        meter.begin()
        if not request.stream:
            answer = await self._provider.complete(call)
            meter.see(answer.chars, answer.usage)
            run.measure(answer.text)
            return answer.text
        async with aclosing(self._provider.stream(call)) as pieces:
            async for piece in pieces:
                meter.see(piece.chars, piece.usage)
                await relay.put(piece.text, run.measure(piece.text))
        return None

    def _patience(self, run: Run) -> float:
        return min(self._limits.rpc_timeout_s, run.remaining_s)


def _completed(response: str | None, meter: Meter) -> Ending:
    return _ending(Outcome.COMPLETED, None, meter, estimate=True, response=response)


def _failed(error: PlatformError, meter: Meter, *, curable: bool) -> Ending:
    error.__traceback__ = None  # it holds what its frames do: the answer, until the attempt's end is told
    if meter.begun:
        return _ending(Outcome.FAILED, error, meter, estimate=meter.received, curable=curable)
    outcome = Outcome.FAILED if isinstance(error, UNAVAILABLE) else Outcome.REFUSED
    return _ending(outcome, error, meter, estimate=False)


def _stopped(reason: Stop, meter: Meter, *, is_asked: bool) -> Ending:
    """`is_asked`: the deadline was the client's wish, which is paid as if they had cancelled."""
    if reason is Stop.CANCELLED:
        cancelled = RunCancelledError("the run was cancelled")
        return _ending(Outcome.CANCELLED, cancelled, meter, estimate=meter.sent or meter.received)
    if reason is Stop.SHUTDOWN:
        lost = WorkerLostError("the worker was stopped during the run")
        return _ending(Outcome.INTERRUPTED, lost, meter, estimate=meter.received)
    if reason is Stop.REVOKED:
        return _failed(key_revoked(), meter, curable=False)
    if meter.begun:
        late = ProviderTimeoutError("the provider did not finish before the run's deadline")
        return _ending(Outcome.FAILED, late, meter, estimate=meter.received or (is_asked and meter.sent))
    return _ending(Outcome.EXPIRED, too_late(), meter, estimate=False)


def too_late() -> ServiceUnavailableError:
    return ServiceUnavailableError("no worker was free in time", service=INFERENCE, retry_after_s=2)


def _ending(
    outcome: Outcome,
    error: PlatformError | None,
    meter: Meter,
    *,
    estimate: bool,
    curable: bool = False,
    response: str | None = None,
) -> Ending:
    return Ending(
        outcome=outcome,
        error=error,
        tokens=meter.tokens(estimate=estimate),
        usage_raw=meter.usage,
        provider_cost_usd=provider_cost_usd(meter.usage) if meter.usage else None,
        provider_request_id=meter.request_id,
        first_token_ms=meter.first_token_ms,
        curable=curable,
        response=response,
    )

"""The service, wired on any parts: the real ones, or a test's."""

from dataclasses import dataclass
from datetime import UTC, datetime

from services.inference.handlers import Handlers, RequestHandlers
from services.inference.ports import (
    AttemptStore,
    Audience,
    Clock,
    KeyChecker,
    KeyOpener,
    KeyResolver,
    ModelLister,
    Outbox,
    Provider,
    QuoteFinder,
    RunAuthorizer,
    UsageLog,
)
from services.inference.use_cases.end_attempt import EndAttempt
from services.inference.use_cases.heart import Heart
from services.inference.use_cases.in_flight import InFlight
from services.inference.use_cases.limits import Limits
from services.inference.use_cases.publish_usage import PublishUsage
from services.inference.use_cases.quotes import Quotes
from services.inference.use_cases.recover_run import RecoverRun
from services.inference.use_cases.remembered_keys import RememberedKeys
from services.inference.use_cases.run_inference import RunInference
from services.inference.use_cases.sweep_attempts import SweepAttempts
from services.inference.use_cases.try_attempt import TryAttempt
from services.inference.use_cases.validate_key import ValidateKeyUseCase


@dataclass(frozen=True)
class Parts:
    """What the service stands on: the real parts, or a test's."""

    store: AttemptStore
    outbox: Outbox
    resolver: KeyResolver
    opener: KeyOpener
    checker: KeyChecker
    lister: ModelLister
    authorizer: RunAuthorizer
    quote_finder: QuoteFinder
    provider: Provider
    usage_log: UsageLog
    audience: Audience
    worker: str
    limits: Limits
    now: Clock = lambda: datetime.now(UTC)


class Inference:
    """The wired service."""

    def __init__(self, parts: Parts) -> None:
        self.heart = Heart(parts.store, parts.worker)
        self.in_flight = InFlight()
        self.remembered_keys = RememberedKeys(parts.resolver, timeout_s=parts.limits.rpc_timeout_s)
        self.publish = PublishUsage(parts.usage_log, parts.outbox)
        self.sweep = SweepAttempts(
            store=parts.store,
            outbox=parts.outbox,
            usage_log=parts.usage_log,
            heart=self.heart,
            in_flight=self.in_flight,
            limits=parts.limits,
            now=parts.now,
        )
        end = EndAttempt(store=parts.store, publish=self.publish, limits=parts.limits, now=parts.now)
        self.run_inference = RunInference(
            store=parts.store,
            audience=parts.audience,
            try_attempt=TryAttempt(
                resolver=self.remembered_keys,
                authorizer=parts.authorizer,
                quotes=Quotes(parts.quote_finder, timeout_s=parts.limits.rpc_timeout_s),
                provider=parts.provider,
                store=parts.store,
                revocations=self.in_flight.revocations,
                limits=parts.limits,
            ),
            end=end,
            recover=RecoverRun(
                store=parts.store,
                publish=self.publish,
                heart=self.heart,
                in_flight=self.in_flight,
                limits=parts.limits,
                now=parts.now,
            ),
            in_flight=self.in_flight,
            worker=parts.worker,
            limits=parts.limits,
            now=parts.now,
        )
        self.handlers = Handlers(self.run_inference, self.in_flight, self.remembered_keys)
        self.requests = RequestHandlers(
            ValidateKeyUseCase(opener=parts.opener, checker=parts.checker), parts.lister
        )

"""What the workers are asked, the client's keys sealed to key_vault."""

from datetime import UTC, datetime, timedelta

from services.api_edge.domain.catalogue import Model
from services.api_edge.domain.flows import Flow, run_terms
from services.api_edge.domain.openai_headers import openai_headers
from services.api_edge.domain.request_keys import SentKey, sent_keys
from services.api_edge.domain.run_times import RunTimes
from services.api_edge.domain.start_run import StartRun
from services.api_edge.ports import Sealer
from services.api_edge.use_cases.seal_key import seal_key
from shared.contracts.runs import RunRequested
from shared.contracts.sealed import RequestKey


class RunRequests:
    def __init__(self, sealer: Sealer, times: RunTimes) -> None:
        self._sealer = sealer
        self._times = times

    def __call__(self, command: StartRun, flow: Flow, model: Model, *, reply_to: str) -> RunRequested:
        """Raise BadInputError or ForbiddenError for what cannot be asked, VaultUnavailableError when a key
        was sent and cannot be sealed.
        """
        now, run_s = datetime.now(UTC), self._times.for_client(command.timeout_s)
        start_s = run_s if command.is_insistent else min(self._times.start_s, run_s)
        sent = sent_keys(command.headers, model.provider, in_council=command.council_id is not None)
        plain = [self._sealed(command, key, now) for key in sent.plain]
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
            openai_headers=openai_headers(command.headers),
            request_key=plain[0] if plain else None,
            further_keys=tuple(plain[1:]),
            session_key=sent.session and self._sealed(command, sent.session, now),
            report_only=terms.report_only,
            reply_to=reply_to,
            requested_at=now,
            start_by=now + timedelta(seconds=start_s),
            deadline=now + timedelta(seconds=run_s),
            deadline_asked=self._times.is_sooner(command.timeout_s),
            kept=command.kept or command.idempotency is not None,
            session_id=command.session_id,
        )

    def _sealed(self, command: StartRun, sent: SentKey, now: datetime) -> RequestKey:
        sealed = seal_key(
            self._sealer, sent, "request", user_id=command.caller.user_id, run_id=command.run_id, now=now
        )
        return RequestKey(service=sent.service, sealed=sealed, base_url=sent.base_url)

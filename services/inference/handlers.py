"""Messages in: a run to do, a run to stop, a key to be validated."""

import asyncio
import time
from typing import Final

from services.inference.ports import ModelLister
from services.inference.use_cases.in_flight import InFlight
from services.inference.use_cases.remembered_keys import RememberedKeys
from services.inference.use_cases.run_inference import Report, RunInference
from services.inference.use_cases.validate_key import ValidateKeyUseCase
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.models import ListModels, ModelsListed
from shared.contracts.runs import AttachRun, CancelRun, RunRequested
from shared.contracts.validation import KeyValidated, ValidateKey
from shared.kernel.names import API_EDGE, KEY_VAULT
from shared.runtime.delivery import Delivery
from shared.runtime.logs import bound, get_logger
from shared.runtime.rpc import Route

_KEY_EVENTS: Final[dict[str, type[KeyStored | KeyRevoked | ConsentChanged]]] = {
    kind.event_type(): kind for kind in (KeyStored, KeyRevoked, ConsentChanged)
}


class Handlers:
    def __init__(
        self, run_inference: RunInference, in_flight: InFlight, remembered_keys: RememberedKeys
    ) -> None:
        self._run_inference = run_inference
        self._in_flight = in_flight
        self._remembered_keys = remembered_keys
        self._running: set[asyncio.Task[None]] = set()

    async def on_run_requested(self, delivery: Delivery) -> None:
        """Returns when the run has ended and its usage is published; raises when it must come back.

        A lost connection cancels the handlers of its deliveries. The run goes on; the second delivery waits.
        """
        request = delivery.read(RunRequested, senders=(API_EDGE,))
        running = asyncio.create_task(self._run(request, redelivered=delivery.redelivered))
        self._running.add(running)
        running.add_done_callback(self._ran)
        await asyncio.shield(running)

    def _ran(self, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # the handler raises it; when it was cancelled, the message comes back anyway

    async def _run(self, request: RunRequested, *, redelivered: bool) -> None:
        began = time.perf_counter()
        with bound(run_id=request.run_id, user_id=request.user_id):
            report = await self._run_inference(request, redelivered=redelivered)
            _log(request, report, time.perf_counter() - began)

    async def on_control(self, delivery: Delivery) -> None:
        """What comes this way is for every worker, and one has the run."""
        if delivery.envelope.type == AttachRun.event_type():
            attach = delivery.read(AttachRun, senders=(API_EDGE,))
            await self._in_flight.attach(attach.run_id, attach.reply_to, attach.from_seq)
        elif delivery.envelope.type == CancelRun.event_type():
            self._cancel(delivery)

    def _cancel(self, delivery: Delivery) -> None:
        cancel = delivery.read(CancelRun, senders=(API_EDGE,))
        if self._in_flight.cancel(cancel.run_id):
            get_logger().info("run cancelled", run_id=str(cancel.run_id))

    async def on_key_event(self, delivery: Delivery) -> None:
        """Whatever changes about a user's keys, what is remembered of them is not true any more; and a
        revoked one may be in use, here or on its way.
        """
        kind = _KEY_EVENTS.get(delivery.envelope.type)
        if kind is None:
            return
        event = delivery.read(kind, senders=(KEY_VAULT,))
        self._remembered_keys.forget(event.user_id)
        if isinstance(event, KeyRevoked):
            self._revoke(event)

    def _revoke(self, revoked: KeyRevoked) -> None:
        stopped = self._in_flight.revoke(str(revoked.credential_id))
        get_logger().info("key revoked", credential_id=str(revoked.credential_id), runs_stopped=stopped)


class RequestHandlers:
    """Requests that wait for an answer. The RPC server logs outcome and time; here, what was found."""

    def __init__(self, validate_key: ValidateKeyUseCase, lister: ModelLister) -> None:
        self._validate_key = validate_key
        self._lister = lister

    def routes(self) -> list[Route]:
        return [
            Route(ValidateKey, self.on_validate_key, callers=(API_EDGE,)),
            Route(ListModels, self.on_list_models, callers=(API_EDGE,)),
        ]

    async def on_list_models(self, _: ListModels) -> ModelsListed:
        return ModelsListed(models=await self._lister.models())

    async def on_validate_key(self, ask: ValidateKey) -> KeyValidated:
        with bound(user_id=ask.user_id):
            found = await self._validate_key(ask)
            get_logger().info("key validated", key_service=ask.service, verdict=found.verdict)
            return found


def _log(request: RunRequested, report: Report | None, elapsed_s: float) -> None:
    if report is None:
        get_logger().info("run was over before")
        return
    attempt, ending = report.attempt, report.ending
    get_logger().info(
        "run ended",
        outcome=ending.outcome,
        code=ending.error.code if ending.error else "ok",
        attempt=attempt.number,
        provider=request.provider,
        model=request.model,
        key_source=attempt.key.source if attempt.key else None,
        key_service=attempt.key.service if attempt.key else None,
        would_refuse_policy=attempt.key.would_refuse_policy if attempt.key else None,
        first_token_ms=ending.first_token_ms,
        ms=round(elapsed_s * 1000, 1),
    )

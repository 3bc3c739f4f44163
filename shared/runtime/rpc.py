"""RPC over the bus: a multiplexing client (many calls in flight on one reply queue) and a server."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from uuid import uuid4

from opentelemetry.trace import INVALID_SPAN, Span, SpanKind
from pydantic import BaseModel, ValidationError

from shared.contracts.message import TYPE_PREFIX, read
from shared.contracts.rpc import ErrorBody, Request, RpcReply
from shared.kernel.errors import InternalError, InvalidRequestError, PlatformError, ServiceUnavailableError
from shared.runtime.delivery import Delivery, Handler
from shared.runtime.logs import get_logger
from shared.runtime.metrics import BusMeters
from shared.runtime.replays import Replays
from shared.runtime.tracing import OFF, Tracing, fail, run_attributes

AnswerT = TypeVar("AnswerT", bound=BaseModel)

_LOGGED_CHARS_MAX = 128


class RequestSender(Protocol):
    """What the client needs of the bus."""

    async def request(self, message: Request, *, correlation_id: str, ttl_s: float) -> None: ...


class RequestBus(Protocol):
    """What the server needs of the bus."""

    service: str

    @property
    def meters(self) -> BusMeters: ...

    @property
    def tracing(self) -> Tracing: ...

    def subscribe(self, queue: str, handler: Handler, /, *, prefetch: int) -> None: ...

    async def reply(self, to: Delivery, answer: RpcReply, /) -> None: ...


class RpcClient:
    """Calls in parallel: a slow one never delays another. Cancelling a call forgets it."""

    def __init__(self, bus: RequestSender, tracing: Tracing = OFF) -> None:
        self._bus = bus
        self._tracing = tracing
        self._pending: dict[str, tuple[str, asyncio.Future[RpcReply]]] = {}

    async def call(self, request: Request, answer: type[AnswerT], *, timeout_s: float) -> AnswerT:
        """Send and wait.

        Raises the receiver's own typed error, ServiceUnavailableError when it does not answer within
        `timeout_s` (the request is dropped by then), BusUnavailableError when the bus is away.
        """
        if not self._tracing.is_on:
            return await self._call(request, answer, timeout_s)
        with self._tracing.span(request.ROUTING_KEY, SpanKind.CLIENT, _attributes(request)):
            return await self._call(request, answer, timeout_s)

    async def _call(self, request: Request, answer: type[AnswerT], timeout_s: float) -> AnswerT:
        reply = await self._exchange(request, timeout_s)
        if reply.error is not None:
            raise reply.error.to_error()
        try:
            return answer.model_validate(reply.result or {})
        except ValidationError:
            raise InternalError("malformed answer", service=request.receiver()) from None

    def on_reply(self, delivery: Delivery) -> None:
        """Hand a reply to its caller; one that comes late, or not from the receiver, is dropped."""
        receiver, future = self._pending.get(delivery.correlation_id or "", ("", None))
        if future is None or future.done() or delivery.sender != receiver:
            return
        try:
            future.set_result(read(delivery.envelope, RpcReply))
        except InvalidRequestError as error:
            future.set_exception(InternalError(error.message, service=receiver))

    def fail_pending(self, error: Callable[[], PlatformError]) -> None:
        for _, future in self._pending.values():
            if not future.done():
                future.set_exception(error())

    async def _exchange(self, request: Request, timeout_s: float) -> RpcReply:
        correlation_id = uuid4().hex
        future: asyncio.Future[RpcReply] = asyncio.get_running_loop().create_future()
        self._pending[correlation_id] = (request.receiver(), future)
        try:
            async with asyncio.timeout(timeout_s):
                await self._bus.request(request, correlation_id=correlation_id, ttl_s=timeout_s)
                return await future
        except TimeoutError:
            raise ServiceUnavailableError(
                f"{request.receiver()} did not answer in time", service=request.receiver(), retry_after_s=2
            ) from None
        finally:
            if future.done() and not future.cancelled():
                future.exception()  # it is heard, also when the sending failed
            del self._pending[correlation_id], future  # its error holds this frame, which would hold it


@dataclass(frozen=True)
class Route:
    """`handle` answers `request`, which only `callers` may send."""

    request: type[Request]
    handle: Callable[[Any], Awaitable[BaseModel]]
    callers: tuple[str, ...]


class RpcServer:
    """Answers every request on a queue: a result, or a typed error. One log line each, never a body.

    A copy of a request answered before, and one whose time is more than a minute off, is refused.
    """

    def __init__(self, bus: RequestBus, queue: str, routes: Sequence[Route], *, prefetch: int = 64) -> None:
        self._bus = bus
        self._replays = Replays()
        self._routes = {route.request.event_type(): route for route in routes}
        bus.subscribe(queue, self.on_request, prefetch=prefetch)

    async def on_request(self, delivery: Delivery) -> None:
        if not self._bus.tracing.is_on:
            await self._serve(delivery, INVALID_SPAN)
            return
        kind, run_id, _ = self._known(delivery)
        attributes = _named(kind) | run_attributes({"run_id": run_id})
        name = attributes["rpc.method"]
        with self._bus.tracing.span_of(delivery.traceparent, name, SpanKind.SERVER, attributes) as span:
            await self._serve(delivery, span)

    async def _serve(self, delivery: Delivery, span: Span) -> None:
        began = time.perf_counter()
        try:
            answer = RpcReply(result=(await self._answer(delivery)).model_dump(mode="json"))
        except PlatformError as error:
            error.service = error.service or self._bus.service
            answer = RpcReply(error=ErrorBody.of(error))
        except Exception:  # noqa: BLE001 - the caller gets a typed error
            get_logger().exception("rpc handler failed")
            answer = self._internal_error()
        self._log(delivery, answer, began)
        if answer.error is not None:
            fail(span, answer.error.code)
        try:
            await self._bus.reply(delivery, answer)
        except TypeError:  # JSON cannot hold it; coming back, the request would find the same again and again
            get_logger().exception("rpc answer cannot be written")
            await self._bus.reply(delivery, self._internal_error())

    def _internal_error(self) -> RpcReply:
        return RpcReply(error=ErrorBody.of(InternalError(service=self._bus.service)))

    async def _answer(self, delivery: Delivery) -> BaseModel:
        route = self._routes.get(delivery.envelope.type)
        if route is None:
            raise InvalidRequestError("no such request")
        request = delivery.read(route.request, senders=route.callers)
        self._replays.check(delivery)
        return await route.handle(request)

    def _log(self, delivery: Delivery, answer: RpcReply, began: float) -> None:
        kind, run_id, user_id = self._known(delivery)
        code, seconds = answer.error.code if answer.error else "ok", time.perf_counter() - began
        self._bus.meters.answered(kind, code, seconds)
        get_logger().info(
            "rpc",
            request=kind,
            sender=delivery.sender,
            run_id=run_id,
            user_id=user_id,
            code=code,
            ms=round(seconds * 1000, 1),
        )

    def _known(self, delivery: Delivery) -> tuple[str, str | None, str | None]:
        """Return type, run and user of a request of ours; of anything else, nothing that it says."""
        try:
            envelope = delivery.envelope
        except InvalidRequestError:
            return "malformed", None, None
        if envelope.type not in self._routes:
            return "unknown", None, None
        return envelope.type, _text(envelope.data.get("run_id")), _text(envelope.data.get("user_id"))


def _attributes(request: Request) -> dict[str, str]:
    return _named(request.event_type()) | run_attributes(request)


def _named(kind: str) -> dict[str, str]:
    """Attributes of a request, by its CloudEvents type."""
    method = kind.removeprefix(TYPE_PREFIX)
    return {
        "rpc.system.name": "latchkey",
        "rpc.method": method,
        "messaging.system": "rabbitmq",
        "messaging.destination.name": f"{Request.EXCHANGE}:{method}",
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= _LOGGED_CHARS_MAX else None

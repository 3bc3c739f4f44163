"""The bus in memory, as a service's handlers meet it: messages are handed in, answers kept."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from shared.contracts.rpc import RpcReply
from shared.runtime.batches import LINGER_MS, BatchHandler, Urgency, never
from shared.runtime.delivery import Delivery, Handler
from shared.runtime.metrics import BusMeters
from shared.runtime.tracing import Tracing


@dataclass
class InMemoryBus:
    """The handlers of each queue, and the answers given."""

    service: str
    handlers: dict[str, Handler] = field(default_factory=dict)
    batch_handlers: dict[str, BatchHandler] = field(default_factory=dict)
    urgencies: dict[str, Urgency] = field(default_factory=dict)
    answers: list[RpcReply] = field(default_factory=list)
    meters: BusMeters = field(default_factory=lambda: BusMeters(CollectorRegistry()))
    tracing: Tracing = field(default_factory=Tracing)

    def subscribe(self, queue: str, handler: Handler, *, prefetch: int) -> None:
        assert prefetch > 0
        self.handlers[queue] = handler

    def subscribe_batches(
        self, queue: str, handler: BatchHandler, *, linger_ms: float = LINGER_MS, urgent: Urgency = never
    ) -> None:
        assert linger_ms >= 0
        self.batch_handlers[queue] = handler
        self.urgencies[queue] = urgent

    async def hand_in(self, queue: str, *deliveries: Delivery) -> list[Exception | None]:
        """Hand in one batch; return what is said of each message."""
        verdicts = list(await self.batch_handlers[queue](deliveries))
        assert len(verdicts) == len(deliveries)
        return verdicts

    async def reply(self, to: Delivery, answer: RpcReply) -> None:
        assert to.reply_to is not None
        self.answers.append(answer)

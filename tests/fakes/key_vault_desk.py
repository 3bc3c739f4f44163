"""key_vault behind its queues, on in-memory parts: where messages are handed in."""

from typing import TypeVar

from pydantic import BaseModel

from services.key_vault.app import listen
from shared.contracts.message import Message
from shared.contracts.rpc import Request, RpcReply
from shared.contracts.topology import KEY_VAULT_RPC, KEY_VAULT_USAGE
from shared.kernel.names import API_EDGE, INFERENCE, KEY_VAULT
from shared.runtime.delivery import Delivery
from tests.envelopes import event_body
from tests.fakes.bus import InMemoryBus
from tests.fakes.key_vault_house import House

AnswerT = TypeVar("AnswerT", bound=BaseModel)


class Desk:
    def __init__(self) -> None:
        self.house = House()
        self.bus = InMemoryBus(KEY_VAULT)
        listen(self.bus, self.house.service, retry_s=0.01)

    async def ask(self, request: Request, answer: type[AnswerT], sender: str = API_EDGE) -> AnswerT:
        """Raise the typed error that was answered."""
        reply = await self.hand_in(request, sender)
        if reply.error is not None:
            raise reply.error.to_error()
        return answer.model_validate(reply.result)

    async def hand_in(self, request: Request, sender: str) -> RpcReply:
        return await self.deliver(event_body(request, source=sender), sender)

    async def deliver(self, body: bytes, sender: str) -> RpcReply:
        await self.bus.handlers[KEY_VAULT_RPC](Delivery(body, sender, reply_to="reply.x", correlation_id="1"))
        return self.bus.answers.pop()

    async def code(self, request: Request, sender: str) -> str | None:
        answer = await self.hand_in(request, sender)
        assert answer.error is None or answer.result is None
        return answer.error.code if answer.error else None

    async def tell(self, event: Message, sender: str = INFERENCE) -> None:
        """Hand in an event; return when it would be acknowledged."""
        body = event_body(event, source=sender)
        (verdict,) = await self.bus.hand_in(KEY_VAULT_USAGE, Delivery(body, sender))
        if verdict is not None:
            raise verdict

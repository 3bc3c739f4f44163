"""A key that key_vault opens to be validated: asked for whole, and believed only as it was sealed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.inference.adapters.key_vault import RpcKeyVault
from shared.contracts.resolving import KeyOpened, OpenKey
from shared.contracts.rpc import Request, RpcReply
from shared.contracts.sealed import SealBinding, SealedKey
from shared.contracts.validation import ValidateKey
from shared.kernel.errors import InternalError
from shared.kernel.ids import new_id
from shared.kernel.names import KEY_VAULT, KeyService
from shared.kernel.secret import SecretText
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import RpcClient
from shared.runtime.sealing import seal
from tests.envelopes import event_body
from tests.fakes.inference import CANARY

pytestmark = pytest.mark.unit

URL = "https://llm.example.com/v1"


class InMemoryKeyVault:
    """A bus with only key_vault on it; `sealed_for` changes what the key is bound to."""

    def __init__(self, **sealed_for: Any) -> None:
        self.rpc = RpcClient(self)
        self.asked: list[OpenKey] = []
        self._sealed_for = sealed_for

    async def request(self, message: Request, *, correlation_id: str, ttl_s: float) -> None:
        assert isinstance(message, OpenKey)
        assert ttl_s > 0
        self.asked.append(message)
        reply = RpcReply(result=self._opened(message).model_dump(mode="json"))
        body = event_body(reply, source=KEY_VAULT)
        self.rpc.on_reply(Delivery(body=body, sender=KEY_VAULT, correlation_id=correlation_id))

    def _opened(self, query: OpenKey) -> KeyOpened:
        bound: dict[str, Any] = {
            "purpose": "open",
            "run_id": query.validation_id,
            "user_id": query.user_id,
            "service": query.service,
            "base_url": URL,
            "expires_at": datetime.now(UTC) + timedelta(seconds=30),
        }
        binding = SealBinding(**bound | self._sealed_for)
        sealed = seal(SecretText(CANARY), query.worker_public_key, binding)
        return KeyOpened(service=query.service, sealed=sealed, base_url=URL)


def an_ask() -> ValidateKey:
    sealed = SealedKey(ciphertext="c2VhbGVk", expires_at=datetime.now(UTC))
    return ValidateKey(
        validation_id=new_id(), user_id="ann", service=KeyService.GATEWAY, sealed=sealed, base_url=URL
    )


async def test_the_key_comes_with_its_service_and_address() -> None:
    vault, ask = InMemoryKeyVault(), an_ask()

    opened = await RpcKeyVault(vault.rpc).open(ask, timeout_s=1)

    assert (opened.secret.reveal(), opened.service, opened.base_url) == (CANARY, KeyService.GATEWAY, URL)
    [query] = vault.asked
    assert query.model_dump(exclude={"worker_public_key"}) == ask.model_dump()
    assert CANARY not in repr(opened)


@pytest.mark.parametrize(
    "sealed_for",
    [
        {"purpose": "resolve"},
        {"run_id": new_id()},
        {"user_id": "bob"},
        {"service": KeyService.OPENAI},
        {"base_url": "https://evil.example.com/v1"},
        {"base_url": None},
        {"expires_at": datetime(2020, 1, 1, tzinfo=UTC)},
    ],
    ids=lambda sealed_for: next(iter(sealed_for)),
)
async def test_a_key_sealed_for_another_use_does_not_open(sealed_for: dict[str, Any]) -> None:
    vault = InMemoryKeyVault(**sealed_for)

    with pytest.raises(InternalError):
        await RpcKeyVault(vault.rpc).open(an_ask(), timeout_s=1)

"""key_vault on in-memory parts, and the messages that an edge and a worker would send it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.key_vault.adapters.hpke import HpkeSealer
from services.key_vault.adapters.memory import KeyMemory
from services.key_vault.service import build
from shared.contracts.keys import Credential, ReplaceKey, StoreKey
from shared.contracts.resolving import KeyResolved, ResolveKey
from shared.contracts.sealed import RequestKey, SealBinding, SealedKey
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService
from shared.kernel.secret import SecretText
from shared.runtime.sealing import KeyPair, seal
from tests.fakes.key_vault import InMemoryCipher, InMemoryKeyEvents
from tests.fakes.key_vault_pools import InMemoryPlatformKeys, InMemoryPlatformMarks, InMemorySessionCipher
from tests.fakes.key_vault_store import InMemoryCredentialStore

KEY = "sk-test-0123456789abcdefWXYZ"
GATEWAY_URL = "https://gateway.example/v1"


def soon(seconds: float = 20) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=seconds)


def store_command(public_key: str, key: str = KEY, **fields: Any) -> StoreKey:
    """A StoreKey as the edge makes it, of user `ada` for OpenAI unless told."""
    said: dict[str, Any] = {
        "credential_id": new_id(),
        "user_id": "ada",
        "service": KeyService.OPENAI,
        "base_url": None,
        **fields,
    }
    binding = SealBinding(
        purpose="store",
        user_id=said["user_id"],
        service=said["service"],
        expires_at=soon(),
        credential_id=str(said["credential_id"]),
        base_url=said["base_url"],
    )
    return StoreKey(sealed=seal(SecretText(key), public_key, binding), **said)


def replace_command(public_key: str, credential_id: UUID, key: str = KEY, **fields: Any) -> ReplaceKey:
    """A ReplaceKey as the edge makes it, of user `ada` for OpenAI unless told."""
    stored = store_command(public_key, key, credential_id=credential_id, **fields)
    return ReplaceKey(**{name: getattr(stored, name) for name in ReplaceKey.model_fields})


def request_key(public_key: str, run_id: UUID, key: str = KEY, **fields: Any) -> RequestKey:
    """A key sent with the run `run_id`, of user `ada` for OpenAI unless told."""
    said = {"user_id": "ada", "service": KeyService.OPENAI, "base_url": None, **fields}
    binding = SealBinding(purpose="request", run_id=run_id, expires_at=soon(), **said)
    sealed = seal(SecretText(key), public_key, binding)
    return RequestKey(service=said["service"], base_url=said["base_url"], sealed=sealed)


@dataclass
class Worker:
    """Asks, and opens what it gets."""

    pair: KeyPair = field(default_factory=KeyPair.generate)

    def asks(self, **fields: Any) -> ResolveKey:
        said: dict[str, Any] = {
            "run_id": new_id(),
            "attempt": 1,
            "user_id": "ada",
            "flow": "chat",
            "policy": KeyPolicy.USER_KEY_PREFERRED,
            "provider": KeyService.OPENAI,
            "worker_public_key": self.pair.public_key,
            **fields,
        }
        return ResolveKey(**said)

    def opens(self, resolved: KeyResolved, query: ResolveKey, **instead: Any) -> str:
        binding = SealBinding(
            purpose="resolve",
            run_id=query.run_id,
            attempt=query.attempt,
            user_id=query.user_id,
            credential_id=resolved.credential_id,
            service=resolved.service,
            base_url=resolved.base_url,
            expires_at=resolved.sealed.expires_at,
        )
        return self.pair.open(resolved.sealed, binding.model_copy(update=instead)).reveal()


class House:
    """key_vault's handlers on fakes."""

    def __init__(
        self, *, store: InMemoryCredentialStore | None = None, cipher: InMemoryCipher | None = None
    ) -> None:
        self.pair = KeyPair.generate()
        self.store = store or InMemoryCredentialStore()
        self.cipher = cipher or InMemoryCipher()
        self.platform_keys = InMemoryPlatformKeys()
        self.marks = InMemoryPlatformMarks()
        self.sessions = InMemorySessionCipher()
        self.memory = KeyMemory()
        self.key_events = InMemoryKeyEvents()
        self.service = build(
            sealer=HpkeSealer(self.pair),
            cipher=self.cipher,
            store=self.store,
            consents=self.store.consents,
            platform_keys=self.platform_keys,
            marks=self.marks,
            sessions=self.sessions,
            memory=self.memory,
            confirm=self._confirm,
            key_events=self.key_events,
            now=lambda: datetime.now(UTC),
        )
        self.handlers, self.note_usage = self.service.requests, self.service.note_usage
        self.worker = Worker()

    async def _confirm(self) -> None:
        """Vault is open."""

    async def keep(self, key: str = KEY, **fields: Any) -> Credential:
        return await self.handlers.on_store_key(store_command(self.pair.public_key, key, **fields))

    async def resolve(self, **fields: Any) -> tuple[KeyResolved, str]:
        """Resolve as the worker does; return the answer and the opened key."""
        query = self.worker.asks(**fields)
        resolved = await self.handlers.on_resolve_key(query)
        return resolved, self.worker.opens(resolved, query)

    def sealed_nonsense(self) -> SealedKey:
        return SealedKey(ciphertext="AAAA", expires_at=soon())

"""What the edge keeps beside runs, whom it knows, and what it seals with, in memory."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from services.api_edge.domain.allowance import Allowance, Limited
from services.api_edge.domain.errors import OverLimitError
from services.api_edge.domain.flows import Flow, FlowChange
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.preferences import Preferences
from shared.contracts.sealed import SealBinding, SealedKey
from shared.kernel.errors import PlatformError, UnauthenticatedError, VaultUnavailableError
from shared.kernel.names import Role
from shared.kernel.secret import SecretText
from tests.fakes.api_edge_billing import NOON


class InMemoryPreferenceStore:
    def __init__(self) -> None:
        self.kept: dict[str, Preferences] = {}
        self.found = 0

    async def find(self, user_id: str) -> Preferences:
        self.found += 1
        return self.kept.get(user_id, Preferences())

    async def set_model(self, user_id: str, model: str, parameters: Mapping[str, Any]) -> Preferences:
        kept = self.kept.get(user_id, Preferences())
        chosen = replace(kept, model=model, parameters=dict(parameters), model_set_at=NOON)
        self.kept[user_id] = chosen
        return chosen

    async def forget_model(self, user_id: str) -> Preferences:
        self.kept[user_id] = Preferences(pinned=(await self.find(user_id)).pinned)
        return self.kept[user_id]

    async def pin(self, user_id: str, models: tuple[str, ...]) -> Preferences:
        self.kept[user_id] = replace(self.kept.get(user_id, Preferences()), pinned=models)
        return self.kept[user_id]


class InMemoryRateLimiter:
    """`left`: how often each may still be done; there is no limit to the rest."""

    def __init__(self) -> None:
        self.left: dict[Limited, int] = {}

    async def hit(self, limited: Limited, user_id: str) -> Allowance | None:  # noqa: ARG002
        if limited not in self.left:
            return None
        allowance = Allowance(limited, 10, max(0, self.left[limited] - 1), 30.2, 60)
        if not self.left[limited]:
            raise OverLimitError(allowance)
        self.left[limited] -= 1
        return allowance


class InMemoryFlowStore:
    """`read`: how often it was read. `now`: when the next change is made."""

    def __init__(self, *flows: Flow) -> None:
        self.flows = {flow.name: flow for flow in flows}
        self.changed_by: dict[str, str] = {}
        self.read = 0
        self.now = NOON
        self.error: PlatformError | None = None

    async def seed(self, flows: tuple[Flow, ...]) -> None:
        if self.error:
            raise self.error
        for flow in flows:
            self.flows.setdefault(flow.name, replace(flow, updated_at=self.now))

    async def all(self) -> tuple[Flow, ...]:
        self.read += 1
        if self.error:
            raise self.error
        return tuple(self.flows[name] for name in sorted(self.flows))

    async def change(self, name: str, change: FlowChange, *, by: str) -> Flow | None:
        if self.error:
            raise self.error
        if name not in self.flows:
            return None
        given = {field: value for field, value in asdict(change).items() if value is not None}
        self.flows[name] = replace(self.flows[name], **given, updated_at=self.now)
        self.changed_by[name] = by
        return self.flows[name]


class InMemoryTokenStore:
    def __init__(self) -> None:
        self.callers: dict[bytes, Caller] = {}
        self.looked = 0
        self.error: PlatformError | None = None

    def put(self, token: str, caller: Caller) -> None:
        self.callers[hashlib.sha256(token.encode()).digest()] = caller

    def revoke(self, token: str) -> None:
        del self.callers[hashlib.sha256(token.encode()).digest()]

    async def find(self, token_sha256: bytes) -> Caller | None:
        self.looked += 1
        if self.error:
            raise self.error
        return self.callers.get(token_sha256)


class InMemoryTokenVerifier:
    """Takes `jwt-<user>` as a good JWT."""

    async def verify(self, token: str) -> Caller:
        kind, _, user_id = token.partition("-")
        if kind != "jwt":
            raise UnauthenticatedError
        return Caller(user_id, Role.USER)


class InMemorySealer:
    """Remembers what it sealed, so that a test can look inside."""

    def __init__(self) -> None:
        self.sealed: list[tuple[SecretText, SealBinding]] = []
        self.has_key = True

    def seal(self, secret: SecretText, binding: SealBinding) -> SealedKey:
        if not self.has_key:
            raise VaultUnavailableError(service="vault", retry_after_s=2)
        self.sealed.append((secret, binding))
        ciphertext = b64encode(hashlib.sha256(secret.reveal().encode()).digest()).decode()
        return SealedKey(ciphertext=ciphertext, expires_at=binding.expires_at)

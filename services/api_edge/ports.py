"""What the edge needs of the world."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from services.api_edge.domain.allowance import Allowance, Limited
from services.api_edge.domain.council import Council
from services.api_edge.domain.flows import Flow, FlowChange
from services.api_edge.domain.identity import Caller
from services.api_edge.domain.preferences import Preferences
from services.api_edge.domain.runs import KeptRun, RunOwner, RunRecord
from shared.contracts.billing import ListUsage, Receipt, UsagePage
from shared.contracts.consent import ChangeUserSettings, UserSettings
from shared.contracts.credits import (
    AdjustCredits,
    Balance,
    CreditsMoved,
    DeductCredits,
    GrantCredits,
    StatementPage,
)
from shared.contracts.keys import (
    Credential,
    Credentials,
    IssueSessionKey,
    KeysRewrapped,
    KeyStatus,
    ReplaceKey,
    RevokeKeys,
    SessionKeyIssued,
    StoreKey,
    UpdateKey,
)
from shared.contracts.platform_keys import PlatformKeyInfo, PlatformKeys
from shared.contracts.prices import PriceList, PriceSet, SetPrice
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.sealed import SealBinding, SealedKey
from shared.contracts.validation import ValidateKey
from shared.kernel.names import KeyVerdict, Outcome
from shared.kernel.secret import SecretText

Probe = Callable[[], Awaitable[bool]]
"""Tells whether a part is there. Raises BusUnavailableError when that cannot be seen."""


class RunStore(Protocol):
    """Raises `database_unavailable`."""

    async def add(self, run: RunRecord) -> None: ...

    async def owner(self, run_id: UUID) -> RunOwner | None:
        """Return None for an unknown run."""
        ...

    async def keep(self, run: KeptRun, at_once_max: int = 0) -> KeptRun | None:
        """Add a run that is kept; return the one that has its id or its idempotency key already, and add none
        then. `at_once_max`: so many of its user's may go on at once, 0 for no limit; what is kept at the same
        time may not be counted.

        Raises OverLimitError.
        """
        ...

    async def free(self, run_id: UUID) -> None:
        """Let a run's idempotency key go: the next request with it is a new one. The run is over."""
        ...

    async def find(self, user_id: str, run_id: UUID) -> KeptRun | None:
        """Return a kept run; None for another user's, and for one that is not kept."""
        ...

    async def end(self, ends: Sequence[RunEnded]) -> None:
        """Write down the ends of kept runs. One that has ended stays so, unless a sweep ended it as lost."""
        ...

    async def page(
        self, user_id: str, *, limit: int, before: UUID | None, session_id: str | None
    ) -> tuple[KeptRun, ...]:
        """Return kept runs, newest first, without their ends."""
        ...

    async def outcomes(self, user_id: str, run_ids: Sequence[UUID]) -> dict[UUID, Outcome | None]:
        """Return how those of the user's kept runs ended that were asked for; None of one that goes on."""
        ...

    async def sweep(self, *, ended_before: datetime, lost_before: datetime) -> int:
        """Forget the ends of runs from before a time; end as lost those whose deadline passed before another.

        Returns how many ends were forgotten.
        """
        ...

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        """Delete the oldest runs with smaller ids, unless they are kept and go on; return how many.

        Nothing of the last day is deleted.
        """
        ...


class CouncilStore(Protocol):
    """Raises `database_unavailable`."""

    async def keep(self, council: Council) -> Council | None:
        """Add a council; return the one that has its idempotency key already, and add none then."""
        ...

    async def find(self, user_id: str, council_id: UUID) -> Council | None:
        """Return a council; None for another user's."""
        ...

    async def page(
        self, user_id: str, *, limit: int, before: UUID | None, session_id: str | None
    ) -> tuple[Council, ...]:
        """Return a user's councils, newest first."""
        ...

    async def close(self, council_id: UUID, *, free: bool = False) -> None:
        """Forget the question; with `free` let the idempotency key go, too."""
        ...

    async def sweep(self, late_before: datetime) -> int:
        """Forget the questions of those whose deadline passed before a time; return how many."""
        ...

    async def forget(self, born_before: UUID, *, limit: int) -> int:
        """Delete the oldest with smaller ids, unless they still have a question; return how many.

        Nothing of the last day is deleted.
        """
        ...


class FlowStore(Protocol):
    """Raises `database_unavailable`."""

    async def seed(self, flows: tuple[Flow, ...]) -> None:
        """Keep those whose names are not there yet."""
        ...

    async def all(self) -> tuple[Flow, ...]: ...

    async def change(self, name: str, change: FlowChange, *, by: str) -> Flow | None:
        """Return the flow as it is now; None for an unknown one."""
        ...


class TokenStore(Protocol):
    async def find(self, token_sha256: bytes) -> Caller | None:
        """Return whose API token has this hash, unless revoked. Raises `database_unavailable`."""
        ...


class TokenVerifier(Protocol):
    async def verify(self, token: str) -> Caller:
        """Return whom a JWT names. Raises `unauthenticated`, or `service_unavailable` without its keys."""
        ...


class Sealer(Protocol):
    def seal(self, secret: SecretText, binding: SealBinding) -> SealedKey:
        """Seal to key_vault. Raises `vault_unavailable` while its public key is not known."""
        ...


class RunBus(Protocol):
    """The way to the workers. Progress comes back through `WaitingRuns`."""

    @property
    def reply_to(self) -> str:
        """Where progress is to be told: another place after each loss of the bus."""
        ...

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing reaches the workers, and perhaps nothing of theirs comes."""
        ...

    async def request(self, run: RunRequested) -> None:
        """Publish, confirmed. Raises `bus_unavailable`."""
        ...

    def cancel(self, run_id: UUID) -> None:
        """Tell every worker to stop a run, as well as can be done, without waiting."""
        ...

    async def attach(self, run_id: UUID, from_seq: int) -> None:
        """Ask whoever has a kept run to tell its progress here, too. Raises `bus_unavailable`."""
        ...


class KeyVault(Protocol):
    """Raises key_vault's typed errors, `service_unavailable` or `bus_unavailable`."""

    async def store(self, command: StoreKey) -> Credential: ...

    async def replace(self, command: ReplaceKey) -> Credential: ...

    async def update(self, command: UpdateKey) -> Credential: ...

    async def list(self, user_id: str) -> Credentials: ...

    async def revoke(self, user_id: str, credential_id: UUID) -> None: ...

    async def issue_session(self, command: IssueSessionKey) -> SessionKeyIssued: ...

    async def settings(self, user_id: str) -> UserSettings: ...

    async def change_settings(self, command: ChangeUserSettings) -> UserSettings: ...

    async def status(self, user_id: str) -> KeyStatus: ...


class KeyAdministration(Protocol):
    """What administrators may do at key_vault. Raises as `KeyVault` does."""

    async def platform_keys(self) -> PlatformKeys: ...

    async def mend_platform_key(self, credential_id: str) -> PlatformKeyInfo: ...

    async def revoke_all(self, command: RevokeKeys) -> tuple[UUID, ...]: ...

    async def rewrap(self, limit: int) -> KeysRewrapped: ...


class KeyValidator(Protocol):
    """Raises inference's typed errors, `service_unavailable` (no answer in time) or `bus_unavailable`."""

    async def validate(self, command: ValidateKey) -> KeyVerdict:
        """Ask the provider about a key."""
        ...


class PreferenceStore(Protocol):
    """Raises `database_unavailable`."""

    async def find(self, user_id: str) -> Preferences: ...

    async def set_model(self, user_id: str, model: str, parameters: Mapping[str, Any]) -> Preferences: ...

    async def forget_model(self, user_id: str) -> Preferences: ...

    async def pin(self, user_id: str, models: tuple[str, ...]) -> Preferences: ...


class RateLimiter(Protocol):
    async def hit(self, limited: Limited, user_id: str) -> Allowance | None:
        """Count one more; return what is left, None without a limit. Raises OverLimitError."""
        ...


class Billing(Protocol):
    """Raises billing's typed errors, `service_unavailable` or `bus_unavailable`."""

    async def grant(self, command: GrantCredits) -> CreditsMoved: ...

    async def adjust(self, command: AdjustCredits) -> CreditsMoved: ...

    async def deduct(self, command: DeductCredits) -> CreditsMoved: ...

    async def balance(self, user_id: str) -> Balance: ...

    async def receipt(self, user_id: str, run_id: UUID) -> Receipt: ...

    async def statement(self, user_id: str, limit: int, cursor: str | None) -> StatementPage: ...

    async def usage(self, query: ListUsage) -> UsagePage: ...


class PriceAdministration(Protocol):
    """What administrators may do with prices at billing. Raises as `Billing` does."""

    async def set_price(self, command: SetPrice) -> PriceSet: ...

    async def prices(self, model: str | None) -> PriceList: ...

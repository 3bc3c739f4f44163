"""The words every service uses, as types."""

from enum import StrEnum
from typing import Final

API_EDGE: Final = "api_edge"
KEY_VAULT: Final = "key_vault"
INFERENCE: Final = "inference"
BILLING: Final = "billing"
SERVICES: Final = (API_EDGE, KEY_VAULT, INFERENCE, BILLING)
API_TOKEN_PREFIX: Final = "lk_"  # noqa: S105 - of all of them
SESSION_KEY_PREFIX: Final = "lks_"


class KeyService(StrEnum):
    """What a key is for."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"
    GROQ = "groq"
    GEMINI = "gemini"
    XAI = "xai"
    OPENROUTER = "openrouter"
    GATEWAY = "gateway"


class KeySource(StrEnum):
    """Whose key a run used."""

    REQUEST = "request"
    SESSION = "session"
    USER_GATEWAY = "user_gateway"
    USER = "user"
    PLATFORM = "platform"
    TEAM_GATEWAY = "team_gateway"

    @property
    def is_byok(self) -> bool:
        return self not in {KeySource.PLATFORM, KeySource.TEAM_GATEWAY}

    @property
    def is_stored(self) -> bool:
        """Whether it lies in key_vault as the user's own."""
        return self in {KeySource.USER, KeySource.USER_GATEWAY}


class CredentialStatus(StrEnum):
    """How a stored key stands: `inactive` by its owner's wish, the rest by what its provider last said."""

    ACTIVE = "active"
    INACTIVE = "inactive"
    INVALID = "invalid"
    EXPIRED = "expired"
    NO_QUOTA = "no_quota"
    UNREACHABLE = "unreachable"


class KeyVerdict(StrEnum):
    """What a provider says of a key when it is asked."""

    VALID = "valid"
    INVALID = "invalid"
    EXPIRED = "expired"
    NO_QUOTA = "no_quota"
    UNREACHABLE = "unreachable"

    @property
    def status(self) -> CredentialStatus:
        return CredentialStatus.ACTIVE if self is KeyVerdict.VALID else CredentialStatus(self.value)


class PlatformKeyState(StrEnum):
    """`cooling`: rate limited, back at a time; `out`: refused, until ops replace or mend it."""

    READY = "ready"
    COOLING = "cooling"
    OUT = "out"


class KeyPolicy(StrEnum):
    """Which keys a flow may use."""

    USER_KEY_REQUIRED = "user_key_required"
    USER_KEY_PREFERRED = "user_key_preferred"
    PLATFORM_ONLY = "platform_only"
    SYSTEM = "system"

    @property
    def takes_own_keys(self) -> bool:
        return self in {KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED}

    def is_strict(self, *, report_only: bool) -> bool:
        """Return whether nothing but the user's own keys may serve; what is only reported refuses nothing."""
        return self is KeyPolicy.USER_KEY_REQUIRED and not report_only


class Operation(StrEnum):
    """Which of a provider's endpoints a run calls."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    EXPIRED = "expired"

    @property
    def was_called(self) -> bool:
        """Whether the attempt may have reached its provider."""
        return self not in {Outcome.REFUSED, Outcome.EXPIRED}


class TokensSource(StrEnum):
    """How token counts are known."""

    MEASURED = "measured"
    ESTIMATED = "estimated"
    UNKNOWN = "unknown"


class Unrated(StrEnum):
    """Why an attempt that may have used tokens has no cost. It is not charged, and flagged."""

    TOKENS_UNKNOWN = "tokens_unknown"
    PRICE_UNKNOWN = "price_unknown"


class TransferKind(StrEnum):
    """What a transfer does to its user's accounts.

    `receivable`: the user owes what nothing covered. `repayment`: credits given pay that first.
    `deduction`: a feature charged by name, not by usage.
    """

    GRANT = "grant"
    CHARGE = "charge"
    RECEIVABLE = "receivable"
    REPAYMENT = "repayment"
    ADJUSTMENT = "adjustment"
    DEDUCTION = "deduction"


class TransferCause(StrEnum):
    """What a transfer comes from; `cause_id` says which one."""

    USAGE = "usage"
    GRANT = "grant"
    ADJUSTMENT = "adjustment"
    DEDUCTION = "deduction"


class Role(StrEnum):
    """What a caller of the edge may do."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"

"""The edge's settings."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from services.api_edge.domain.allowance import Limited
from services.api_edge.domain.sizes import Sizes
from shared.kernel.secret import SecretText
from shared.runtime.addresses import HTTP, address
from shared.runtime.settings import DAY_S, YEAR_S, ServiceSettings, VaultSettings

_SECRET_CHARS_MIN = 32
_MIB = 1024 * 1024


class _Group(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)


class HttpSettings(_Group):
    """`grace_s`: how long open requests may take to end at shutdown. `cors_origins`: frontends elsewhere."""

    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65535)
    grace_s: int = Field(default=8, ge=0)
    cors_origins: tuple[str, ...] = ()


class AuthSettings(_Group):
    """A shared secret (HS256, development) or a JWKS URL, not both. With neither, only API tokens work."""

    jwt_secret: SecretText | None = None
    jwks_url: Annotated[str, address(HTTP)] | None = None
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    """What a key of the JWKS may sign with: asymmetric ones only."""
    issuer: str | None = None
    audience: str | None = None

    @field_validator("jwt_secret", "jwks_url", "issuer", "audience", mode="before")
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        return value or None

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        if self.jwt_secret is not None and self.jwks_url is not None:
            raise ValueError("with a JWKS URL, set LATCHKEY_AUTH__JWT_SECRET to nothing: one of them holds")
        if self.jwt_secret is not None and len(self.jwt_secret) < _SECRET_CHARS_MIN:
            raise ValueError(f"the JWT secret has less than {_SECRET_CHARS_MIN} characters")
        if any(not name.startswith(("RS", "PS", "ES", "Ed")) for name in self.algorithms):
            raise ValueError("keys of a JWKS sign with asymmetric algorithms")
        return self


class LimitSettings(_Group):
    """For each user, and of each request; 0 is no limit. The rates are counted by each edge for itself."""

    runs_per_minute: int = Field(default=6000, ge=0)
    requests_per_minute: int = Field(default=6000, ge=0)
    runs_at_once: int = Field(default=1000, ge=0)
    hearings_at_once: int = Field(default=64, ge=0)
    """Streams of `/events` at one edge, a council's for each member, and requests that came again."""
    messages: int = Field(default=2048, ge=0)
    message_chars: int = Field(default=2_000_000, ge=0)

    @property
    def per_minute(self) -> dict[Limited, int]:
        return {Limited.RUNS: self.runs_per_minute, Limited.REQUESTS: self.requests_per_minute}

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.messages, self.message_chars)


class EdgeSettings(VaultSettings, ServiceSettings):
    """Times in seconds."""

    http: HttpSettings = HttpSettings()
    auth: AuthSettings = AuthSettings()
    limits: LimitSettings = LimitSettings()
    queue_runs_max: int = Field(default=1000, ge=1)
    """So many runs may wait for a worker before new ones are refused at once."""
    auth_mode: Literal["users", "open"] = "users"
    """`open`: a deployment without users. Only request keys and the platform's are used then."""
    start_timeout_s: float = Field(default=10, gt=0, le=DAY_S)
    run_timeout_s: float = Field(default=300, gt=0, le=DAY_S)
    rpc_timeout_s: float = Field(default=5, gt=0, le=DAY_S)
    validate_timeout_s: float = Field(default=8, gt=0, le=DAY_S)
    """How long a key's provider may take, and we with it, to say what it is worth."""
    runs_in_flight_max: int = Field(default=4096, ge=1)
    results_ttl_s: float = Field(default=DAY_S, gt=0, le=YEAR_S)
    """How long the answers of kept runs are kept."""
    runs_ttl_s: float | None = Field(default=None, ge=DAY_S, le=10 * YEAR_S)
    """How long it is known whose run one was, and so its receipt and its answer found; none is for ever."""
    body_bytes_max: int = Field(default=10 * _MIB, ge=1024)
    settings_url: str = Field(default="/settings/api-keys", pattern=r"^(/|https?://)")

    @model_validator(mode="after")
    def _answers_have_runs(self) -> Self:
        if self.runs_ttl_s is not None and self.runs_ttl_s < self.results_ttl_s:
            raise ValueError(
                "LATCHKEY_RUNS_TTL_S is shorter than LATCHKEY_RESULTS_TTL_S: an answer goes with its run"
            )
        return self

"""The settings of inference, from `LATCHKEY_…`."""

from pydantic import BaseModel, Field

from shared.kernel.names import KeyService
from shared.runtime.settings import DAY_S, YEAR_S, ServiceSettings


class ProviderOverride(BaseModel):
    """`LATCHKEY_PROVIDERS__OPENAI__BASE_URL=…`: trusted, exempt from the egress guard."""

    base_url: str = Field(pattern=r"^https?://\S+$")


class InferenceSettings(ServiceSettings):
    """Seconds, where a name ends in `_s`. `concurrency`: runs at once in this process;
    `answer_memory_bytes_max`: how much they may hold of whole answers, and of streams that are kept.
    """

    concurrency: int = Field(default=2048, ge=1, le=10_000)
    answer_memory_bytes_max: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    max_tokens_ceiling: int = Field(default=4096, ge=1)
    attempts_ttl_s: float = Field(default=30 * DAY_S, ge=DAY_S, le=10 * YEAR_S)
    """How old a run is when its attempts are forgotten: claims and events that were published long ago."""
    provider_idle_timeout_s: float = Field(default=60, gt=0, le=DAY_S)
    shutdown_grace_s: float = Field(default=20, ge=0, le=DAY_S)
    providers: dict[KeyService, ProviderOverride] = Field(default_factory=dict)

    @property
    def base_urls(self) -> dict[KeyService, str]:
        return {service: override.base_url for service, override in self.providers.items()}

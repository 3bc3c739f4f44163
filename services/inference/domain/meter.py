"""What one provider call has used so far, as far as can be told."""

import time
from typing import Any

from services.inference.domain.estimates import estimated_completion, prompt_size
from services.inference.domain.provider_usage import measured_tokens
from shared.contracts.usage import TokenCounts
from shared.kernel.names import TokensSource


class Meter:
    """`begun` once the provider is called; `sent` once the request goes out to it, on a connection;
    `received` once it has sent something of an answer.
    """

    def __init__(self, body: dict[str, Any]) -> None:
        self._body = body
        self._began_at: float | None = None
        self._chars = 0
        self.usage: dict[str, Any] | None = None
        self.first_token_ms: int | None = None
        self.request_id: str | None = None
        self.sent = False

    def name(self, request_id: str) -> None:
        """Keep the provider's own name for the call."""
        self.request_id = request_id

    def begin(self) -> None:
        self._began_at = time.monotonic()

    def send(self) -> None:
        self.sent = True

    @property
    def begun(self) -> bool:
        return self._began_at is not None

    @property
    def received(self) -> bool:
        return self.first_token_ms is not None

    def see(self, chars: int, usage: dict[str, Any] | None) -> None:
        """Count a piece of the answer: `chars` of text, and the provider's usage when it came along."""
        if self.first_token_ms is None and self._began_at is not None:
            self.first_token_ms = round((time.monotonic() - self._began_at) * 1000)
        self._chars += chars
        if usage is not None:
            self.usage = usage

    def tokens(self, *, estimate: bool) -> TokenCounts:
        """Return the provider's count; without one an estimate, or `unknown` when none is wanted."""
        measured = measured_tokens(self.usage) if self.usage else None
        if measured is not None:
            return measured
        if not estimate:
            return TokenCounts()
        return TokenCounts(
            prompt=prompt_size(self._body).tokens_likely,
            completion=estimated_completion(self._chars),
            source=TokensSource.ESTIMATED,
        )

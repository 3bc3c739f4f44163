"""How long a run may take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunTimes:
    """`start_s`: how long a run may wait for a worker; `run_s`: how long it may take in all."""

    start_s: float
    run_s: float

    def for_client(self, timeout_s: float | None) -> float:
        """Return how long a run may take; a client may have it shorter."""
        return self.run_s if timeout_s is None else min(timeout_s, self.run_s)

    def is_sooner(self, timeout_s: float | None) -> bool:
        """Whether a client wants a run to end before we would."""
        return self.for_client(timeout_s) < self.run_s

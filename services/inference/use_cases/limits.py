"""The numbers that bound a run."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, unless a name says otherwise. `hold_slack`: how long a hold outlives its run's deadline;
    `orphaned_after`: how long an attempt may stay unfinished after it.
    """

    completion_tokens_ceiling: int = 4096
    attempts_max: int = 3
    rpc_timeout_s: float = 5.0
    linger_s: float = 0.005
    poll_s: float = 1.0
    stale_after_s: float = 10.0
    hold_slack: timedelta = timedelta(seconds=60)
    orphaned_after: timedelta = timedelta(seconds=60)
    retry_pause_s: float = 0.2
    retry_pause_max_s: float = 2.0

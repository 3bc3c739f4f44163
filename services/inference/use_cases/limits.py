"""The numbers that bound a run."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds, unless a name says otherwise. `starting_max`: how many runs are begun at once, so that who is
    asked for keys answers in time, however many go on. `attempts_max`: enough to walk a pool with some dead
    keys; `losses_max`: how many workers a run may lose. `hold_slack`: how long a hold outlives its run's
    deadline; `orphaned_after`: how long an attempt may stay unfinished after it; `unpublished_after_s`: how
    long an ended one is left to its own worker to publish. `hold_pauses_s`: before a refused hold is asked
    for again, while the one of the attempt before is being released. `answer_bytes_max`: how
    long an answer may be in a message, or a piece of it, or all pieces of a kept one;
    `answer_memory_bytes_max`: how much a worker may hold of whole answers, and of streams that are kept.
    `silence_s`: after how long without a word a run tells that it has begun. `attempts_ttl`: how old a run is
    when its attempts are forgotten, if they are published.
    """

    completion_tokens_ceiling: int = 4096
    answer_bytes_max: int = 12 * 1024 * 1024
    answer_memory_bytes_max: int = 64 * 1024 * 1024
    attempts_max: int = 12
    starting_max: int = 64
    losses_max: int = 3
    rpc_timeout_s: float = 5.0
    linger_s: float = 0.005
    silence_s: float = 1.0
    poll_s: float = 1.0
    stale_after_s: float = 10.0
    hold_slack: timedelta = timedelta(seconds=60)
    hold_pauses_s: tuple[float, ...] = (0.05, 0.1, 0.2, 0.4)
    orphaned_after: timedelta = timedelta(seconds=60)
    unpublished_after_s: float = 5.0
    attempts_ttl: timedelta = timedelta(days=30)
    retry_pause_s: float = 0.2
    retry_pause_max_s: float = 2.0

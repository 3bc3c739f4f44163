"""What a caller may still do, and how the answer says so."""

import math
from dataclasses import dataclass
from enum import StrEnum


class Limited(StrEnum):
    """What is counted, each by itself: runs that are asked for, and every request."""

    RUNS = "runs"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True)
class Allowance:
    """`remaining` of `limit` a minute; `reset_s`: until the window is over."""

    limited: Limited
    limit: int
    remaining: int
    reset_s: float
    window_s: int

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """https://datatracker.ietf.org/doc/html/draft-ietf-httpapi-ratelimit-headers-06"""
        policy = f'{self.limit};w={self.window_s};comment="{self.limited}"'
        return (
            (b"ratelimit-limit", str(self.limit).encode()),
            (b"ratelimit-remaining", str(self.remaining).encode()),
            (b"ratelimit-reset", str(max(0, math.ceil(self.reset_s))).encode()),
            (b"ratelimit-policy", policy.encode()),
        )

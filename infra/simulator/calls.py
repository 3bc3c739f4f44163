"""What the simulator was called with, for the tests to look at."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


def key_digest(key: str) -> str:
    """The name a key has in the counts: its SHA-256 in hex."""
    return hashlib.sha256(key.encode()).hexdigest()


class CallBook:
    """Counts calls by key and by prompt; holds no key."""

    def __init__(self) -> None:
        self._in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Forget all but what is in flight."""
        self._totals: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()
        self._by_prompt: Counter[str] = Counter()
        self._by_status: Counter[str] = Counter()
        self._models_by_key: Counter[str] = Counter()
        self._key_info_by_key: Counter[str] = Counter()

    @contextmanager
    def chat(self, key: str) -> Iterator[None]:
        """Count a chat call and keep it in flight for as long as the block runs."""
        self._totals["chat"] += 1
        self._by_key[key_digest(key)] += 1
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

    def prompt(self, text: str) -> None:
        self._by_prompt[text] += 1

    def status(self, status: int) -> None:
        self._by_status[str(status)] += 1

    def models(self, key: str) -> None:
        self._totals["models"] += 1
        self._models_by_key[key_digest(key)] += 1

    def key_info(self, key: str) -> None:
        """Count a question about a key itself."""
        self._totals["key_info"] += 1
        self._key_info_by_key[key_digest(key)] += 1

    def redirected(self) -> None:
        self._totals["redirected"] += 1

    def disconnected(self) -> None:
        """The client went away before the answer's end."""
        self._totals["disconnected"] += 1

    def snapshot(self) -> dict[str, object]:
        """The body of `GET /_simulator/calls`; `control.Calls` says what the fields mean."""
        return {
            "chat": self._totals["chat"],
            "models": self._totals["models"],
            "key_info": self._totals["key_info"],
            "redirected": self._totals["redirected"],
            "disconnected": self._totals["disconnected"],
            "in_flight": self._in_flight,
            "by_key": dict(self._by_key),
            "by_prompt": dict(self._by_prompt),
            "by_status": dict(self._by_status),
            "models_by_key": dict(self._models_by_key),
            "key_info_by_key": dict(self._key_info_by_key),
        }

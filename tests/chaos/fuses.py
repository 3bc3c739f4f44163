"""Where a process may end: the steps of a run, and the prompts that ask for one.

A prompt `[kill after_claim #7]` has the worker that comes to this step with it kill itself (SIGKILL); `stop`
freezes it (SIGSTOP). Each happens once, in one process: a file in a folder that all of them share says so.
"""

import os
import re
import signal
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

FOLDER: Final = "FUSES"
"""The environment variable that names the folder. Without it nothing ends."""
_ASKED: Final = re.compile(r"\[(kill|stop) (\w+) (#\w+)\]")


class Step(StrEnum):
    """The steps of a run in a worker, in order."""

    BEFORE_CLAIM = "before_claim"
    AFTER_CLAIM = "after_claim"
    BEFORE_CALL = "before_call"
    AFTER_FIRST_CHUNK = "after_first_chunk"
    AFTER_LAST_CHUNK = "after_last_chunk"
    AFTER_OUTCOME = "after_outcome"
    AFTER_PUBLISHED = "after_published"
    BEFORE_ACK = "before_ack"


class Act(StrEnum):
    KILL = "kill"
    STOP = "stop"

    @property
    def signal(self) -> signal.Signals:
        return signal.SIGKILL if self is Act.KILL else signal.SIGSTOP


@dataclass(frozen=True, slots=True)
class Fuse:
    """What one prompt asks for. `name` is the prompt's own."""

    act: Act
    step: Step
    name: str

    def __str__(self) -> str:
        return f"[{self.act} {self.step} {self.name}]"

    @property
    def mark(self) -> str:
        return f"{self.act} {self.step}.{self.name}"

    @classmethod
    def in_body(cls, body: Mapping[str, Any]) -> Self | None:
        """Find it in the last message of a request."""
        found = _ASKED.search(str(body["messages"][-1]["content"]))
        return cls(Act(found[1]), Step(found[2]), found[3]) if found else None


class Fuses:
    """Burns each fuse once, over all processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def at(self, step: Step, fuse: Fuse | None) -> None:
        """End or freeze this process if it was asked for here, and has not happened yet."""
        if fuse is not None and fuse.step is step and self.burn(fuse.mark):
            os.kill(os.getpid(), fuse.act.signal)

    def burn(self, mark: str) -> bool:
        """Return whether it is the first time. What is before a dot says what happened."""
        try:
            os.close(os.open(self._folder / mark, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True

    def put_out(self, mark: str) -> None:
        """Let it be the first time again."""
        (self._folder / mark).unlink()

    def is_burnt(self, fuse: Fuse) -> bool:
        return (self._folder / fuse.mark).exists()

    def burnt(self) -> Counter[str]:
        """Return how often each has happened: `kill after_claim`, `committed`."""
        return Counter(path.name.partition(".")[0] for path in self._folder.iterdir())

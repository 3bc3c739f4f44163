"""Telling the story as it happens."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

_INDENT = "      "


class Narrator:
    """Prints numbered steps, what happens in them, and how long they took."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._step = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step; one that raises is told as failed."""
        self._step += 1
        self._print(f"\n[{self._step}] {title}")
        start = time.monotonic()
        try:
            yield
        except BaseException:
            self._print(f"{_INDENT}FAILED ({time.monotonic() - start:.1f} s)")
            raise
        self._print(f"{_INDENT}ok ({time.monotonic() - start:.1f} s)")

    def say(self, line: str) -> None:
        self._print(f"{_INDENT}{line}")

    def piece(self, text: str, *, first: bool) -> None:
        """A piece of a streamed answer, shown as it arrives."""
        print(f"{_INDENT}> {text}" if first else text, end="", file=self._out, flush=True)

    def end_piece(self) -> None:
        self._print("")

    def headline(self, line: str) -> None:
        self._print(f"\n{line}")

    def _print(self, line: str) -> None:
        print(line, file=self._out, flush=True)

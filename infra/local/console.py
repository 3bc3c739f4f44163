"""What the person at the terminal sees."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

from infra.local.home import Home

Progress = Callable[[str], None]
_TAIL_LINES = 15
_TAIL_BYTES = 16_384


def stopwatch() -> Progress:
    """Return a progress printer whose lines start with the seconds gone by."""
    start = time.monotonic()

    def tell(line: str) -> None:
        print(f"{time.monotonic() - start:5.1f} s  {line}", flush=True)

    return tell


def complain(line: str) -> None:
    print(f"latchkey: {line}", file=sys.stderr, flush=True)


def last_lines(home: Home, part: str) -> str:
    """Return the end of a part's log under a heading."""
    lines = _tail(home.log(part))
    shown = "\n".join(f"    {line}" for line in lines) or "    (empty)"
    return f"last lines of {home.log(part)}:\n{shown}"


def _tail(path: Path) -> list[str]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]

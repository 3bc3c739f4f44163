"""Env files: `NAME=value` lines for dotenv readers and for `. file` in a shell; mode 600."""

import os
import shlex
from collections.abc import Mapping
from pathlib import Path


def read_env(path: Path) -> dict[str, str]:
    """Return a file's variables; none when there is no such file."""
    if not path.exists():
        return {}
    pairs = (line.partition("=") for line in path.read_text().splitlines() if "=" in line)
    return {name: "".join(shlex.split(value)) for name, _, value in pairs if not name.startswith("#")}


def write_env(path: Path, values: Mapping[str, str]) -> None:
    text = "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())
    write_private(path, text)


def write_private(path: Path, text: str) -> None:
    """Replace a file in one move; only its owner may ever read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
    draft.replace(path)

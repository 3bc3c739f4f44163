"""Which Python `make venv` takes."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from infra.local.home import CHECKOUT

pytestmark = pytest.mark.unit

_SCRIPT: Final = str(CHECKOUT / "infra" / "local" / "venv.sh")
_DISTRIBUTIONS: Final = "/usr/bin/python3"
_UV: Final = """#!/bin/sh
echo "$@"
"""


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def bin_(tmp_path: Path) -> Path:
    """Programs of a user's own: a Python, and a uv that repeats what it is told."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    _program(folder / "uv", _UV)
    return folder


def _run(bin_: Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    environ["PATH"] = f"{bin_}:/usr/bin:/bin"
    return subprocess.run(
        ["/bin/sh", _SCRIPT], cwd=bin_.parent, env=environ, capture_output=True, text=True, check=False
    )


def _is_enough(python: str) -> bool:
    look = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    return Path(python).exists() and subprocess.run(look, check=False).returncode == 0


def test_the_distributions_python_goes_first(bin_: Path) -> None:
    wanted = _DISTRIBUTIONS if _is_enough(_DISTRIBUTIONS) else str(bin_ / "python3")
    assert _run(bin_).stdout.strip().endswith(f"sync --frozen --python {wanted}")


def test_one_that_was_asked_for_goes_before_it(bin_: Path) -> None:
    assert _run(bin_, UV_PYTHON="3.13").stdout.strip().endswith("sync --frozen")


def test_one_that_is_there_stays(bin_: Path) -> None:
    kept = bin_.parent / ".venv" / "bin"
    kept.mkdir(parents=True)
    _program(kept / "python", _UV)
    assert _run(bin_).stdout.strip().endswith("sync --frozen")

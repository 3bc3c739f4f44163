"""Programs that others wrote, Python's and Node's, each as its users install it."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.local.home import CHECKOUT
from tests.processes import done

_UV: Final = shutil.which("uv") or str(CHECKOUT / ".latchkey" / "uv" / "bin" / "uv")


@dataclass(frozen=True)
class OthersPrograms:
    """`home`: where they are put. `wanted`: which, in versions that are written down there. `patience_s`: for
    each step of fetching them.
    """

    home: Path
    wanted: Path
    patience_s: float = 300

    def program(self, name: str) -> str:
        """Where one of Python's or Node's is."""
        return str(self.home / "venv" / "bin" / name)

    async def install(self, *how: str) -> None:
        """Fetch what is not there yet. `how`: more for uv, such as `--compile-bytecode`."""
        self.home.mkdir(parents=True, exist_ok=True)
        python, wanted = self.program("python"), str(self.wanted / "requirements.txt")
        if shutil.which(python) is None:
            # the Python that Latchkey has, too
            await self._done(_UV, "venv", "--quiet", "--python", sys.executable, str(self.home / "venv"))
        await self._done(_UV, "pip", "install", "--quiet", *how, "--python", python, "-r", wanted)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(self.wanted / name, self.home)
        npm = self.program("npm")  # of the wheel, which has a program for its own Node
        await self._done(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(self.home))

    async def _done(self, *command: str) -> None:
        await done(*command, timeout_s=self.patience_s)

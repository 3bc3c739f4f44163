"""The other gateways as their users install them, in the versions that are written down."""

import shutil
from pathlib import Path
from typing import Final

from infra.local.home import CHECKOUT
from tests.bench.versus.process import done

WORK: Final = CHECKOUT / ".latchkey" / "versus"
_HERE: Final = Path(__file__).parent
_UV: Final = shutil.which("uv") or str(CHECKOUT / ".latchkey" / "uv" / "bin" / "uv")
_BIN: Final = WORK / "venv" / "bin"
PYTHON, LITELLM, NODE = (str(_BIN / name) for name in ("python", "litellm", "node"))
PORTKEY: Final = str(WORK / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js")


async def install() -> None:
    """Fetch what is not there yet."""
    WORK.mkdir(parents=True, exist_ok=True)
    if shutil.which(PYTHON) is None:
        await done(_UV, "venv", "--quiet", str(_BIN.parent))
    wanted = str(_HERE / "requirements.txt")
    how = (
        "--quiet",
        "--compile-bytecode",
        "--python",
        PYTHON,
    )  # it else starts in minutes where none is written
    await done(_UV, "pip", "install", *how, "-r", wanted)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(_HERE / name, WORK)
    npm = str(_BIN / "npm")  # of the wheel, which has a program for its own Node
    await done(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(WORK))


async def versions() -> dict[str, str]:
    """What was installed, as it says itself."""
    litellm = "from importlib.metadata import version; print(version('litellm'))"
    portkey = "console.log(require(process.argv[1]).version)"
    package = str(Path(PORTKEY).parents[1] / "package.json")
    return {
        "LiteLLM": await done(PYTHON, "-c", litellm),
        "Portkey": await done(NODE, "-e", portkey, package),
        "Node": await done(NODE, "--version"),
    }

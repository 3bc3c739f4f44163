"""The other gateways as their users install them, in the versions that are written down."""

from pathlib import Path
from typing import Final

from infra.local.home import CHECKOUT
from tests.others_programs import OthersPrograms
from tests.processes import done

WORK: Final = CHECKOUT / ".latchkey" / "versus"
_OTHERS: Final = OthersPrograms(WORK, Path(__file__).parent, patience_s=1200)
PYTHON, LITELLM, NODE = (_OTHERS.program(name) for name in ("python", "litellm", "node"))
PORTKEY: Final = str(WORK / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js")


async def install() -> None:
    """Fetch what is not there yet. LiteLLM else starts in minutes where no bytecode is written."""
    await _OTHERS.install("--compile-bytecode")


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

"""The four services, and the provider simulator, as parts."""

import sys
from pathlib import Path

from infra.bootstrap.step import JWT_SECRET
from infra.local.home import CHECKOUT, Home
from infra.local.parts import Part
from infra.local.wishes import JWKS_URL, Wishes
from shared.kernel.names import API_EDGE, INFERENCE, SERVICES

SIMULATOR = "simulator"
_METRICS_PORT = "LATCHKEY_METRICS__PORT"
_STOP_S = 30  # longer than a worker's grace for the runs it has in hand


def simulator_url(ports: dict[str, int]) -> str:
    return f"http://127.0.0.1:{ports['simulator']}"


def service_parts(home: Home, ports: dict[str, int], wishes: Wishes) -> list[Part]:
    """Return the services' parts; the second worker is `inference-2`, and so on."""
    parts = [_service(home, ports, wishes, name, place) for place, name in enumerate(_names(wishes))]
    return [*parts, _simulator(ports)] if wishes.simulator else parts


def last_metrics_port(wishes: Wishes) -> dict[str, str]:
    """Return the setting of the last service's."""
    return _metrics_port(wishes, len(_names(wishes)) - 1)


def _names(wishes: Wishes) -> list[str]:
    workers = [INFERENCE, *(f"{INFERENCE}-{number}" for number in range(2, wishes.inference + 1))]
    return [name for service in SERVICES for name in (workers if service == INFERENCE else [service])]


def _metrics_port(wishes: Wishes, place: int) -> dict[str, str]:
    """Return the setting, if there is one: each service has a port of its own, one after the other."""
    port = wishes.overrides.get(_METRICS_PORT, "")
    return {_METRICS_PORT: str(int(port) + place)} if port.isdecimal() else {}


def _service(home: Home, ports: dict[str, int], wishes: Wishes, name: str, place: int) -> Part:
    """`place`: among the services."""
    service = name.partition("-")[0]
    env_file = home.env_files / f"{service}.env"
    env = {
        "LATCHKEY_ENV_FILE": str(env_file),
        **wishes.settings_for(service, simulator_url=simulator_url(ports)),
        **_metrics_port(wishes, place),
    }
    if service == API_EDGE:
        env |= {"LATCHKEY_HTTP__HOST": "127.0.0.1", "LATCHKEY_HTTP__PORT": str(ports["edge"])}
        env |= {JWT_SECRET: ""} if JWKS_URL in env else {}  # one or the other
    command = (sys.executable, "-m", f"services.{service}.app")
    return Part(name, command, env, reads=(env_file, *_code(service)), stop_s=_STOP_S)


def _code(service: str) -> list[Path]:
    """Return the files that a service is made of: with another version of them it is started anew."""
    folders = (CHECKOUT / "services" / service, CHECKOUT / "shared")
    files = (path for folder in folders for path in folder.rglob("*") if "__pycache__" not in path.parts)
    return [CHECKOUT / "uv.lock", *sorted(path for path in files if path.is_file())]


def _simulator(ports: dict[str, int]) -> Part:
    return Part(SIMULATOR, (sys.executable, "-m", "infra.simulator", "--port", str(ports["simulator"])))

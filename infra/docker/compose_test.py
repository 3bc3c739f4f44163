"""`make compose-test`: build and start the compose stack, tell the demo's story on it, remove every trace.

The project has a name and ports of its own, so that it disturbs no stack that runs already.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from infra.bootstrap import Realm, mint_token
from infra.bootstrap.envfiles import read_env, write_env

_ROOT = Path(__file__).parents[2]
_FILES = ("-f", "docker-compose.yml", "-f", "infra/docker/compose.test.yml")
_ANY_PORT = dict.fromkeys(
    (f"LATCHKEY_{part}PORT" for part in ("", "AMQP_", "MANAGEMENT_", "POSTGRES_", "VAULT_")), "0"
)
_PORTS = {"rabbitmq": (5672, 15672), "vault": (8200,), "postgres": (5432,)}
_UP = ("up", "--detach", "--wait", "--wait-timeout", "180")
_LOG_LINES = "25"


class Compose:
    """docker compose on one project."""

    def __init__(self, project: str) -> None:
        self._command = ("docker", "compose", "--progress", "quiet", "-p", project, *_FILES)
        self._env = {**os.environ, **_ANY_PORT, "LATCHKEY_INFERENCE_REPLICAS": "2"}

    def run(self, *words: str) -> None:
        subprocess.run([*self._command, *words], cwd=_ROOT, env=self._env, check=True)

    def ask(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words], cwd=_ROOT, env=self._env, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    def address(self, service: str, port: int) -> str:
        """Where a published port is reached from this machine."""
        found = self.ask("port", service, str(port)).rpartition(":")[2]
        return f"127.0.0.1:{found}"

    def parts(self) -> list[dict[str, Any]]:
        """What `docker compose ps` knows of each container."""
        return [json.loads(line) for line in self.ask("ps", "-a", "--format", "json").splitlines()]


def main() -> int:
    compose, start = Compose(f"latchkey-test-{os.getpid()}"), time.monotonic()
    try:
        compose.run("build", "--quiet")
        _say("built", start)
        compose.run(*_UP)
        _say("all parts are healthy", start)
        _tell_story(compose)
        _say("the story holds", start)
        compose.run("restart", *_PORTS)
        compose.run(*_UP)
        _tell_story(compose)
        compose.run("run", "--rm", "-T", "ops", "ledger", "verify")
        _say("the story holds after the servers' restart, and so does the ledger", start)
    except subprocess.CalledProcessError as error:
        print(f"compose-test: `{' '.join(map(str, error.cmd[-4:]))}` failed", flush=True)
        _show_failing(compose)
        return 1
    finally:
        compose.run("down", "--volumes", "--remove-orphans", "--rmi", "local", "--timeout", "10")
        _say("everything is removed", start)
    return 0


def _say(what: str, start: float) -> None:
    print(f"compose-test: {what} ({time.monotonic() - start:.0f} s)", flush=True)


def _tell_story(compose: Compose) -> None:
    with tempfile.TemporaryDirectory() as folder:
        env_file = Path(folder) / "demo.env"
        write_env(env_file, _demo_env(compose, Path(folder)))
        story = [sys.executable, "-m", "infra.demo", "--no-stack", "--env-file", str(env_file)]
        subprocess.run(story, cwd=_ROOT, check=True)


def _demo_env(compose: Compose, folder: Path) -> dict[str, str]:
    """The administrator's file, as it reads from outside the compose network."""
    inside = folder / "admin.env"
    cat = ("cat", "/run/latchkey/admin/admin.env")
    inside.write_text(compose.ask("run", "--rm", "--no-deps", "-T", "bootstrap", *cat))
    env = {name: _from_outside(compose, value) for name, value in read_env(inside).items()}
    realm = Realm(env.pop("LATCHKEY_REALM"))
    return {
        **env,
        "LATCHKEY_URL": f"http://{compose.address('api_edge', 8080)}",
        "LATCHKEY_SIMULATOR_URL": f"http://{compose.address('simulator', 9400)}",
        "LATCHKEY_ADMIN_TOKEN": mint_token(env["LATCHKEY_POSTGRES_URL"], realm, "admin", "admin"),
    }


def _from_outside(compose: Compose, value: str) -> str:
    parts = urlsplit(value)
    if parts.hostname not in _PORTS or parts.port not in _PORTS[parts.hostname]:
        return value
    login, at, _ = parts.netloc.rpartition("@")
    there = compose.address(parts.hostname, parts.port)
    return urlunsplit((parts.scheme, f"{login}{at}{there}", parts.path, parts.query, ""))


def _show_failing(compose: Compose) -> None:
    """Show the last log lines of every part that is not well; of all, when each looks well."""
    parts = compose.parts()
    for part in parts:
        print(f"  {part['Service']:<12} {part['Status']}", flush=True)
    ill = [part["Service"] for part in parts if _is_ill(part)]
    compose.run("logs", "--no-color", "--tail", _LOG_LINES, *dict.fromkeys(ill))


def _is_ill(part: dict[str, Any]) -> bool:
    ended_well = part["State"] == "exited" and part["ExitCode"] == 0
    return not ended_well and not (part["State"] == "running" and part["Health"] in {"healthy", ""})


if __name__ == "__main__":
    sys.exit(main())

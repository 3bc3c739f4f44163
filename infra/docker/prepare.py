"""A compose stack's first job: passwords, made once, and the servers' configurations, into shared volumes.

    python -m infra.docker.prepare [--root /run/latchkey]

Each folder below the root is a volume that one server and the bootstrap see, and nobody else does.
"""

import argparse
import json
import secrets
from pathlib import Path

from infra.configurations import ADMINISTRATOR, rabbitmq_conf, vault_conf

_READABLE = 0o444  # the servers run as users of their own; only who mounts the volume sees it
_PRIVATE = 0o400
# All addresses of the container; which of them to tell others is in VAULT_API_ADDR and VAULT_CLUSTER_ADDR.
_VAULT = {"data": "/vault/file", "host": "0.0.0.0", "port": "8200", "cluster_port": "8201", "log": "stdout"}  # noqa: S104


def prepare(root: Path) -> None:
    """Write everything; what an earlier run made up stays."""
    known = root / "admin" / "passwords.json"
    if not known.exists():
        made = {server: secrets.token_urlsafe(24) for server in ("rabbitmq", "postgres")}
        _write(known, json.dumps(made), _PRIVATE)
    passwords: dict[str, str] = json.loads(known.read_text())
    _write(root / "rabbitmq" / "10-latchkey.conf", rabbitmq_conf(passwords["rabbitmq"]), _READABLE)
    _write(root / "postgres" / "password", passwords["postgres"], _READABLE)
    _write(root / "vault" / "server.hcl", vault_conf(_VAULT), _READABLE)
    _write(root / "admin" / "servers.env", _addresses(passwords), _PRIVATE)


def _addresses(passwords: dict[str, str]) -> str:
    return (
        f"LATCHKEY_AMQP_URL=amqp://{ADMINISTRATOR}:{passwords['rabbitmq']}@rabbitmq:5672/\n"
        "RABBITMQ_MANAGEMENT_URL=http://rabbitmq:15672\n"
        "VAULT_ADDR=http://vault:8200\n"
        f"LATCHKEY_POSTGRES_URL=postgresql://postgres:{passwords['postgres']}@postgres:5432/postgres\n"
    )


def _write(path: Path, text: str, mode: int) -> None:
    """Replace a file in one move."""
    draft = path.with_name(f".{path.name}")
    draft.unlink(missing_ok=True)
    draft.touch(mode=mode)
    draft.chmod(0o600)
    draft.write_text(text)
    draft.chmod(mode)
    draft.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("/run/latchkey"))
    prepare(parser.parse_args().root)


if __name__ == "__main__":
    main()

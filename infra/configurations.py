"""The servers' configurations: the files under `infra/`, with what differs by installation filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

ADMINISTRATOR: Final = "latchkey_root"
"""RabbitMQ's first user."""
_INFRA = Path(__file__).parent


def rabbitmq_conf(password: str) -> str:
    """Return `rabbitmq.conf` with the first user's login."""
    shared = (_INFRA / "rabbitmq" / "rabbitmq.conf").read_text()
    return (
        f"{shared}default_user = {ADMINISTRATOR}\ndefault_pass = {password}\n"
        "default_user_tags.administrator = true\n"
    )


def vault_conf(blanks: Mapping[str, object]) -> str:
    """Return `server.hcl` and `audit.hcl` as one; `blanks` holds what their words in braces stand for."""
    text = "".join((_INFRA / "vault" / name).read_text() for name in ("server.hcl", "audit.hcl"))
    for name, value in blanks.items():
        text = text.replace(f"{{{name}}}", str(value))
    return text


def postgresql_conf() -> str:
    return (_INFRA / "postgres" / "postgresql.conf").read_text()

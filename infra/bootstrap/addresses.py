"""Whether the servers' addresses can be ones, and what they name is there: said at once."""

from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from infra.bootstrap.realm import BootstrapError, Servers
from shared.runtime.addresses import AMQP, HTTP, POSTGRES, check_address

_TLS_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_TLS_MODES: Final = ("require", "verify-ca", "verify-full")
"""Those in which asyncpg reads the files; it does not know libpq's `sslrootcert=system`."""


def check_addresses(servers: Servers) -> None:
    """Raise BootstrapError naming the first address that is none, and why."""
    _check("RabbitMQ's address", servers.amqp_url, AMQP)
    _check("the address of RabbitMQ's management", servers.management_url, HTTP)
    _check("Vault's address", servers.vault_addr, HTTP)
    _check("Postgres' address", servers.postgres_url, POSTGRES)
    _check_files(servers.postgres_url)


def _check(what: str, url: str, schemes: tuple[str, ...]) -> None:
    try:
        check_address(url, schemes)
    except ValueError as error:
        raise BootstrapError(f"{what} {error}") from None


def _check_files(postgres_url: str) -> None:
    options = parse_qs(urlsplit(postgres_url).query)
    if not {*options.get("sslmode", ())} & {*_TLS_MODES}:
        return
    for name in _TLS_FILES:
        for file in options.get(name, ()):
            if not Path(file).is_file():
                raise BootstrapError(f"Postgres' address: there is no file {file} for {name}")

"""Whether the servers' addresses can be addresses at all: said at once, without the passwords in them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from infra.bootstrap.realm import BootstrapError, Servers

_HTTP: Final = ("http", "https")
_TLS_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_NO_FILES: Final = ("system",)


def check_addresses(servers: Servers) -> None:
    """Raise BootstrapError naming the first address that is none, and why."""
    _split("RabbitMQ's address", servers.amqp_url, ("amqp", "amqps"))
    _split("the address of RabbitMQ's management", servers.management_url, _HTTP)
    _split("Vault's address", servers.vault_addr, _HTTP)
    postgres = _split("Postgres' address", servers.postgres_url, ("postgresql", "postgres"))
    _check_files(parse_qs(postgres.query))


def _split(what: str, url: str, schemes: tuple[str, ...]) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise _unescaped(what) from None
    if parts.scheme.lower() not in schemes:
        raise BootstrapError(f"{what} does not begin with {' or '.join(f'{each}://' for each in schemes)}")
    if parts.netloc.count("@") > 1 or "@" in parts.path + parts.query + parts.fragment:
        raise _unescaped(what)
    if not host and "host=" not in parts.query:
        raise BootstrapError(f"{what} names no host")
    return parts


def _unescaped(what: str) -> BootstrapError:
    escapes = "write / ? # [ ] @ as %2F %3F %23 %5B %5D %40"
    return BootstrapError(f"{what} cannot be read; in a password, {escapes}")


def _check_files(options: Mapping[str, list[str]]) -> None:
    for name in _TLS_FILES:
        for file in options.get(name, ()):
            if file not in _NO_FILES and not Path(file).is_file():
                raise BootstrapError(f"Postgres' address: there is no file {file} for {name}")

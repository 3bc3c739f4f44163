"""Whether text can be a server's address at all: said without the password in it."""

from typing import Final
from urllib.parse import urlsplit

AMQP: Final = ("amqp", "amqps")
HTTP: Final = ("http", "https")
POSTGRES: Final = ("postgresql", "postgres")

_UNREADABLE: Final = "cannot be read; in a password, write / ? # [ ] @ as %2F %3F %23 %5B %5D %40"


def check_address(url: str, schemes: tuple[str, ...]) -> None:
    """Raise ValueError that says why not. Postgres' may name several hosts (libpq's URIs)."""
    try:
        parts = urlsplit(url)
        is_readable = parts.netloc.count("@") <= 1 and "@" not in parts.path + parts.query + parts.fragment
        if "," not in parts.netloc:
            _ = parts.port
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ValueError(_UNREADABLE)
    if parts.scheme not in schemes:
        raise ValueError(f"does not begin with {' or '.join(f'{each}://' for each in schemes)}")
    if not parts.netloc.rpartition("@")[2] and "host=" not in parts.query:
        raise ValueError("names no host")

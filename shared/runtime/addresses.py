"""Whether text can be a server's address at all: said without the password in it."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

AMQP: Final = ("amqp", "amqps")
HTTP: Final = ("http", "https")
POSTGRES: Final = ("postgresql", "postgres")

_UNREADABLE: Final = "cannot be read: its host or port is none"
_UNESCAPED: Final = r"cannot be read; in a password, write / \ ? # [ ] @ as %2F %5C %3F %23 %5B %5D %40"


def check_address(url: str, schemes: tuple[str, ...]) -> None:
    """Raise ValueError that says why not. Postgres' may name several hosts, or a socket's folder, or none."""
    is_postgres = schemes is POSTGRES
    parts = _read(url, is_postgres=is_postgres)
    if parts.scheme not in schemes:
        raise ValueError(f"does not begin with {' or '.join(f'{each}://' for each in schemes)}")
    if not is_postgres and not parts.hostname:
        raise ValueError("names no host")


def _read(url: str, *, is_postgres: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        if not (is_postgres and "," in parts.netloc):
            int(parts.port or 0)  # which raises ValueError
    except ValueError:
        raise ValueError(_UNESCAPED if "@" in url else _UNREADABLE) from None
    if _is_unescaped(parts, is_postgres=is_postgres):
        raise ValueError(_UNESCAPED)
    return parts


def _is_unescaped(parts: SplitResult, *, is_postgres: bool) -> bool:
    """Say whether what separates login and host stands where only a torn password puts it.

    Of several @ before the host all but Postgres' client take the last.
    """
    is_torn_by_query = "@" in parts.query and not parts.path and "@" not in parts.netloc
    return (
        is_torn_by_query
        or "\\" in parts.netloc
        or "@" in parts.path + parts.fragment
        or (is_postgres and parts.netloc.count("@") > 1)
    )

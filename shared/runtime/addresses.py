"""Whether text can be a server's address at all: said without the password in it."""

from typing import Final, TypeVar
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from shared.kernel.secret import SecretText

AddressT = TypeVar("AddressT", str, SecretText)

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


def address(schemes: tuple[str, ...]) -> AfterValidator:
    """Return what a setting is annotated with that is an address of these schemes."""

    def checked(url: AddressT) -> AddressT:
        check_address(url.reveal() if isinstance(url, SecretText) else url, schemes)
        return url

    return AfterValidator(checked)


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
    """Say whether an @ stands where only a login puts it that a /, ? or # of its password has torn.

    Of several @ before the host all but Postgres' client take the last.
    """
    netloc, after = parts.netloc, parts.path + parts.fragment
    is_torn = ":" in netloc and "@" not in netloc and "@" in after + parts.query
    is_torn_later = "@" in netloc and "@" in after
    return is_torn or is_torn_later or "\\" in netloc or (is_postgres and netloc.count("@") > 1)

"""The form of an address. Whether a caller's may be called, the egress guard says."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from shared.kernel.secret import holds_secret, is_visible_ascii

BASE_URL_CHARS_MAX: Final = 512
_MARKS: Final = frozenset("?#@\\")
"""What a base URL has no place for: user, query, fragment."""


def is_base_url(text: str) -> bool:
    """Say whether it is plain https on port 443 with a host, and holds no key."""
    if len(text) > BASE_URL_CHARS_MAX or not is_visible_ascii(text) or not _MARKS.isdisjoint(text):
        return False
    try:
        parts = urlsplit(text)
        is_plain = text.startswith("https://") and bool(parts.hostname) and _is_on_443(parts)
    except ValueError:
        return False
    return is_plain and not holds_secret(text)


def is_trusted_url(text: str) -> bool:
    """Say whether it has the form of an address that operators put beside a key: http or https, and plain."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    is_plain = is_visible_ascii(text) and _MARKS.isdisjoint(text)
    return parts.scheme in {"http", "https"} and bool(parts.hostname) and is_plain


def _is_on_443(parts: SplitResult) -> bool:
    """The egress guard calls no other port: better refused here than at every run."""
    return parts.port in {None, 443} and not parts.netloc.endswith(":")

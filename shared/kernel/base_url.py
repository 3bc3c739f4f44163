"""The form of an address that a caller gives. Whether it may be called is the egress guard's business."""

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


def _is_on_443(parts: SplitResult) -> bool:
    """The egress guard calls no other port: better refused here than at every run."""
    return parts.port in {None, 443} and not parts.netloc.endswith(":")

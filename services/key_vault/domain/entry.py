"""What may enter. Every refusal is `invalid_request` and echoes nothing of what it refused."""

from typing import Final
from urllib.parse import SplitResult, urlsplit

from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText

KEY_BYTES_MAX: Final = 8_192
BASE_URL_CHARS_MAX: Final = 512
USER_ID_CHARS_MAX: Final = 128
LABEL_CHARS_MAX: Final = 200


def is_sane_key(key: SecretText) -> bool:
    """Say whether a key is 1 to 8,192 visible ASCII characters: it becomes an HTTP header as it is."""
    return 0 < len(key) <= KEY_BYTES_MAX and _is_visible_ascii(key.reveal())


def check_key(key: SecretText) -> None:
    if not is_sane_key(key):
        raise InvalidRequestError(
            f"the key must be 1 to {KEY_BYTES_MAX} ASCII characters without spaces or control characters"
        )


def check_base_url(service: KeyService, base_url: str | None) -> None:
    """Check the form only: whether the address may be called is the egress guard's business."""
    if base_url is None:
        if service is KeyService.GATEWAY:
            raise InvalidRequestError("a gateway needs a base URL")
    elif not _is_plain_https(base_url):
        raise InvalidRequestError(
            f"the base URL must be https, at most {BASE_URL_CHARS_MAX} characters, "
            "with a host and without user, query or fragment"
        )


def check_user_id(user_id: str) -> None:
    if not (0 < len(user_id) <= USER_ID_CHARS_MAX and user_id.isprintable()):
        raise InvalidRequestError(f"a user id is 1 to {USER_ID_CHARS_MAX} printable characters")


def check_label(label: str | None) -> None:
    if label is not None and not (len(label) <= LABEL_CHARS_MAX and label.isprintable()):
        raise InvalidRequestError(f"a label is at most {LABEL_CHARS_MAX} printable characters")


def _is_visible_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text


def _is_plain_https(text: str) -> bool:
    if len(text) > BASE_URL_CHARS_MAX or not _is_visible_ascii(text) or any(mark in text for mark in "?#@\\"):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme == "https" and bool(parts.hostname) and _has_sane_port(parts)
    except ValueError:
        return False


def _has_sane_port(parts: SplitResult) -> bool:
    return parts.port != 0 and not parts.netloc.endswith(":")

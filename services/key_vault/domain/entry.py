"""What may enter. Every refusal is `invalid_request` and echoes nothing of what it refused."""

import re
from typing import Final

from shared.kernel.base_url import BASE_URL_CHARS_MAX, is_base_url
from shared.kernel.errors import InvalidRequestError
from shared.kernel.ids import is_user_id
from shared.kernel.lengths import LABEL_CHARS_MAX, USER_ID_CHARS_MAX
from shared.kernel.names import KeyService
from shared.kernel.secret import KEY_CHARS_MAX, SecretText, holds_secret, is_provider_key

_NO_LABEL: Final = f"a label is at most {LABEL_CHARS_MAX} printable characters, and no key"


def check_key(key: SecretText) -> None:
    if not is_provider_key(key):
        raise InvalidRequestError(
            f"the key must be 1 to {KEY_CHARS_MAX} ASCII characters without spaces or control characters"
        )


def check_base_url(service: KeyService, base_url: str | None) -> None:
    """Check the form only: whether the address may be called is the egress guard's business."""
    if base_url is None:
        if service is KeyService.GATEWAY:
            raise InvalidRequestError("a gateway needs a base URL")
    elif not is_base_url(base_url):
        raise InvalidRequestError(
            f"the base URL must be https on port 443, at most {BASE_URL_CHARS_MAX} characters, "
            "with a host and without user, query, fragment or key"
        )


def check_user_id(user_id: str) -> None:
    if not is_user_id(user_id):
        raise InvalidRequestError(f"a user id is 1 to {USER_ID_CHARS_MAX} printable characters")


def check_label(label: str | None) -> None:
    if label is None:
        return
    if len(label) > LABEL_CHARS_MAX or not label.isprintable() or holds_secret(label):
        raise InvalidRequestError(_NO_LABEL)


def check_label_of(label: str, hint: str) -> None:
    """Refuse a label with a word in it that begins and ends as the credential's own key does."""
    begin, between, end = hint.partition("…")
    if begin and between and re.search(rf"{re.escape(begin)}\S{{5,}}{re.escape(end)}", label):
        raise InvalidRequestError(_NO_LABEL)

"""Headers by which OpenAI's clients say what of the caller's account there is meant."""

from collections.abc import Mapping
from typing import Final

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.header_text import is_plain_name

_NAMES: Final = ("openai-organization", "openai-project", "openai-beta")
_CHARS_MAX: Final = 200


def openai_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those that were sent. Raises BadInputError for what is too long, not printable, or a key."""
    sent = {name: headers[name].strip() for name in _NAMES if name in headers}
    for name, value in sent.items():
        if not is_plain_name(value, _CHARS_MAX):
            raise BadInputError("wrong_value", name)
    return {name: value for name, value in sent.items() if value}

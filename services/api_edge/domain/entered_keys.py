"""Keys that a client enters in a body, to be kept or asked about."""

from typing import Final

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.request_keys import is_session_key, usable_key
from shared.kernel.secret import SecretText

_PARAM: Final = "api_key"


def entered_key(text: SecretText, **shown: str | None) -> SecretText:
    """Return a key as it can be sent to a provider.

    Raises BadInputError, without the value, for others, and for one that stands in a field that is shown
    (`shown`, by its name on the wire).
    """
    if is_session_key(text.reveal()):
        raise BadInputError("session_key_here", _PARAM)
    key = usable_key(text.reveal(), _PARAM)
    check_not_shown(key, **shown)
    return key


def check_not_shown(key: SecretText, **shown: str | None) -> None:
    """Raise BadInputError when the key stands in a field that is shown."""
    for name, value in shown.items():
        if key.stands_in(value):
            raise BadInputError("wrong_value", name)

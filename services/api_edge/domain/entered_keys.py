"""Keys that a client enters in a body, to be kept or asked about."""

from typing import Final

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.request_keys import usable_key
from shared.kernel.secret import SecretText

_PARAM: Final = "api_key"
_SESSION_PREFIX: Final = "lks_"


def entered_key(text: SecretText, **shown: str | None) -> SecretText:
    """Return a key as it can be sent to a provider.

    Raises BadInputError, without the value, for others, and for one that stands in a field that is shown
    (`shown`, by its name on the wire).
    """
    if text.reveal().strip().startswith(_SESSION_PREFIX):
        raise BadInputError("session_key_here", _PARAM)
    key = usable_key(text.reveal(), _PARAM)
    for name, value in shown.items():
        if value is not None and key.reveal() in value:
            raise BadInputError("wrong_value", name)
    return key

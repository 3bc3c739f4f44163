"""Messages of key_vault about a user's consent to what is not their own key."""

from pydantic import AwareDatetime

from shared.contracts.answer import Answer
from shared.contracts.rpc import Request


class GetUserSettings(Request):
    """What a user has decided. Answered with `UserSettings`."""

    ROUTING_KEY = "key_vault.settings.v1"

    user_id: str


class ChangeUserSettings(Request):
    """Decides anew; None leaves a decision as it was."""

    ROUTING_KEY = "key_vault.change_settings.v1"

    user_id: str
    allow_platform_fallback: bool | None = None
    allow_gateway_fallback: bool | None = None


class UserSettings(Answer):
    """`consent_id` names the decision, "default" before the first; `decided_at` is None then."""

    allow_platform_fallback: bool
    allow_gateway_fallback: bool
    consent_id: str
    decided_at: AwareDatetime | None

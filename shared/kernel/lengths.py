"""How long what people write may be, in characters: services and the messages between them agree."""

from typing import Final

USER_ID_CHARS_MAX: Final = 128
CREDENTIAL_ID_CHARS_MAX: Final = 128
SESSION_ID_CHARS_MAX: Final = 200
IDEMPOTENCY_KEY_CHARS_MAX: Final = 200
LABEL_CHARS_MAX: Final = 200
"""Of a stored key."""
REASON_CHARS_MAX: Final = 500
"""Of an adjustment."""
FEATURE_CHARS_MAX: Final = 100
"""Of what is charged by name."""

"""What of a provider's answer may be told beside it: which model it was and why it stopped, nothing said."""

import re
from typing import Any, Final

_MODEL: Final = re.compile(r"[A-Za-z0-9][\w./:@-]{0,127}")
_REASON: Final = re.compile(r"[a-z][a-z_]{0,31}")
_CHOICES_MAX: Final = 8


def answered_model(body: dict[str, Any]) -> str | None:
    """Return the model's name, if it is one: the Responses API wraps an answer in its events."""
    wrapped = body.get("response")
    name = (wrapped if isinstance(wrapped, dict) else body).get("model")
    return name if isinstance(name, str) and _MODEL.fullmatch(name) else None


def finish_reasons(body: dict[str, Any]) -> tuple[str, ...]:
    """Return why each choice stopped, in a word of the protocol's."""
    choices = body.get("choices")
    if not isinstance(choices, list):
        return ()
    reasons = [choice.get("finish_reason") for choice in choices[:_CHOICES_MAX] if isinstance(choice, dict)]
    return tuple(word for word in reasons if isinstance(word, str) and _REASON.fullmatch(word))

"""A provider's refusal as it came: codes and words out of an error body in any of the providers' shapes."""

import re
from dataclasses import dataclass
from typing import Any, Final

_SAID_CHARS_MAX: Final = 500
_DETAILS_MAX: Final = 20
FLAGGED: Final = "flagged"
"""The code of a moderated request, however the provider says so."""
_WORD: Final = re.compile(r"[\w.\[\]-]{1,128}", re.ASCII)
_MODERATED: Final = ("input was flagged", "requires moderation")  # OpenRouter


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the provider answered.

    `codes`: its codes in lower case; `said`: how its message begins, in lower case; `message`: the words that
    may be quoted; `code`, `param`: OpenAI's members, as they came. `retry_after_s`: its wish.
    """

    status: int
    codes: frozenset[str] = frozenset()
    said: str = ""
    message: str = ""
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None

    def shows(self, *signs: str) -> bool:
        """Tell whether a sign is one of the codes, or a pattern that the message begins with.

        Nowhere else: what a message quotes is its caller's, and could put a key of the platform out of use.
        """
        return any(sign in self.codes or re.match(sign, self.said) for sign in signs)


def refusal_of(status: int, body: object, retry_after_s: float | None = None) -> Refusal:
    """Read an error body in any of the providers' shapes.

    `{"error": {…}}` (OpenAI, Groq, OpenRouter, Vercel; Anthropic's with a `type` beside it), the same in a
    list (Gemini), `{"code": "…", "error": "…"}` (xAI), `{"message": "…"}`.
    """
    outer = body[0] if isinstance(body, list) and body else body
    if not isinstance(outer, dict):
        return Refusal(status, retry_after_s=retry_after_s)
    inner = outer.get("error", outer)
    codes, message = _codes(outer), inner
    if isinstance(inner, dict):
        codes, message, outer = _codes(inner), inner.get("message"), inner
    text = message if isinstance(message, str) else ""
    said = text[:_SAID_CHARS_MAX].strip().lower()
    if any(sign in said for sign in _MODERATED):
        codes |= {FLAGGED}
    asked = retry_after_s if retry_after_s is not None else _retry_delay_s(inner)
    return Refusal(status, codes, said, text, _word(outer, "code"), _word(outer, "param"), asked)


def _word(error: dict[str, Any], name: str) -> str | None:
    """Return a member that is a name of something, not a sentence."""
    found = error.get(name)
    return found if isinstance(found, str) and _WORD.fullmatch(found) else None


def _codes(error: dict[str, Any]) -> frozenset[str]:
    found = [error.get(name) for name in ("code", "type", "status")]
    found += [detail.get("reason") for detail in _details(error)]
    metadata = error.get("metadata")
    if isinstance(metadata, dict) and "flagged_input" in metadata:
        found.append(FLAGGED)
    return frozenset(str(code).lower() for code in found if isinstance(code, str | int))


def _details(error: dict[str, Any]) -> list[dict[str, Any]]:
    """Return google.rpc.Status's details: https://google.aip.dev/193."""
    details = error.get("details")
    found = details[:_DETAILS_MAX] if isinstance(details, list) else []
    return [detail for detail in found if isinstance(detail, dict)]


def _retry_delay_s(error: object) -> float | None:
    """Read Gemini's google.rpc.RetryInfo (`"retryDelay": "34s"`), which comes without a Retry-After."""
    details = _details(error) if isinstance(error, dict) else []
    for delay in (detail.get("retryDelay") for detail in details):
        number = delay.removesuffix("s") if isinstance(delay, str) else ""
        if number.replace(".", "", 1).isdecimal() and number.isascii():
            return float(number)
    return None

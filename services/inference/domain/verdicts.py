"""What a provider's answer about a key says of the key. Pure; the tables are in the tests.

`invalid` and `expired` need a refusal or a clear word; whatever says nothing of the key is `unreachable`.
"""

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from http import HTTPStatus
from typing import Any, Final

from services.inference.domain.answers import refusal_in
from services.inference.domain.failures import Meaning, meaning_of
from services.inference.domain.providers import KeyCheck
from services.inference.domain.refusals import Refusal, refusal_of
from shared.kernel.names import KeyVerdict

_SUCCESS: Final = range(200, 300)
_REFUSED: Final = range(400, 500)
_SILENT: Final = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED})
_NUMBER_CHARS_MAX: Final = 40

_BY_MEANING: Final = {
    Meaning.KEY_INVALID: KeyVerdict.INVALID,
    Meaning.NOT_ALLOWED: KeyVerdict.INVALID,  # nothing was asked but whether it is good
    Meaning.KEY_EXPIRED: KeyVerdict.EXPIRED,
    Meaning.KEY_EXHAUSTED: KeyVerdict.NO_QUOTA,
    Meaning.KEY_SHORT: KeyVerdict.NO_QUOTA,
}


def verdict_of(check: KeyCheck, status: int, body: object, now: datetime) -> KeyVerdict:
    """Return the verdict of an HTTP answer; `body` is its JSON, None when it was something else."""
    if status in _SUCCESS:
        refusal = refusal_in(body)
        return _of_answer(check, body, now) if refusal is None else _of_refusal(check, refusal)
    if status in _REFUSED and status not in _SILENT:
        return _of_refusal(check, refusal_of(status, body))
    return KeyVerdict.UNREACHABLE


def _of_refusal(check: KeyCheck, refusal: Refusal) -> KeyVerdict:
    if check.proof and refusal.shows(*check.proof):
        return KeyVerdict.VALID
    return _BY_MEANING.get(meaning_of(refusal), KeyVerdict.UNREACHABLE)


def _of_answer(check: KeyCheck, body: object, now: datetime) -> KeyVerdict:
    if check.lists_models:
        return KeyVerdict.VALID if _is_list(body) else KeyVerdict.UNREACHABLE
    if not isinstance(body, dict):
        return KeyVerdict.UNREACHABLE
    inner = body.get("data")
    return _of_fields(check, inner if isinstance(inner, dict) else body, now)


def _of_fields(check: KeyCheck, told: dict[str, Any], now: datetime) -> KeyVerdict:
    for name, verdict in check.flags.items():
        if told.get(name) is True:
            return verdict
    if check.expires_at and _is_past(told.get(check.expires_at), now):
        return KeyVerdict.EXPIRED
    if check.balance and _is_spent(told.get(check.balance)):
        return KeyVerdict.NO_QUOTA
    return KeyVerdict.VALID if _is_known(check, told) else KeyVerdict.UNREACHABLE


def _is_known(check: KeyCheck, told: dict[str, Any]) -> bool:
    """Tell an answer about a key from something else that happens to be JSON."""
    return any(name in told for name in (*check.flags, check.balance, check.expires_at) if name)


def _is_list(body: object) -> bool:
    return isinstance(body, list) or (isinstance(body, dict) and isinstance(body.get("data"), list))


def _is_past(value: object, now: datetime) -> bool:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return False
    return moment is not None and (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= now


def _is_spent(value: object) -> bool:
    """Tell an amount of nothing or less; OpenRouter's null is "no limit", Vercel's amounts are strings."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        amount = Decimal(str(value)[:_NUMBER_CHARS_MAX])
    except InvalidOperation:
        return False
    return amount.is_finite() and amount <= 0

"""The differences of a rating as new entries: one adjustment a user, once a name, period and model."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg

from infra.edge import Edge
from infra.rating.rerate import Period, Rerated
from infra.stack_settings import UsageError
from shared.kernel.money import format_credits

_ROUTE: Final = "/api/admin/credits/adjustments"
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,40}")
_PERIOD: Final = re.compile(r"(-?[0-9]+)-(-?[0-9]+)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MADE: Final = """
SELECT user_id, substr(idempotency_key, 12) AS key, split_part(idempotency_key, ':', 3) AS name,
       split_part(idempotency_key, ':', 4) AS period, split_part(idempotency_key, ':', 6) AS model
FROM billing.transfers WHERE idempotency_key LIKE 'adjustment:rerate:%'
"""


@dataclass(frozen=True)
class Correction:
    """`amount_micros`: what the user is given, negative for what is taken. `is_posted`: before."""

    user_id: str
    amount_micros: int
    idempotency_key: str
    reason: str
    is_posted: bool = False

    @property
    def body(self) -> dict[str, str]:
        return {
            "user_id": self.user_id,
            "credits": format_credits(self.amount_micros),
            "reason": self.reason,
            "idempotency_key": self.idempotency_key,
        }


def check_posting(name: str, period: Period) -> None:
    """Raise UsageError for a name that cannot be in a key, and for a period that is not over."""
    if not _NAME.fullmatch(name):
        raise UsageError("a correction's name has up to 40 letters, digits, dots, dashes")
    if period.until > datetime.now(UTC):
        raise UsageError("corrections are for a period that is over: --to is still to come")


def corrections(rerated: Rerated, name: str, period: Period) -> list[Correction]:
    """Return one for each user whose usage comes to something else now."""
    what = period if period.model is None else f"{period}, {period.model}"
    return [
        Correction(
            user_id=user_id,
            amount_micros=-each.difference_micros,
            idempotency_key=_key(name, period, user_id),
            reason=f"re-rated {what}: {name}",
        )
        for user_id, each in sorted(rerated.users.items())
        if each.difference_micros
    ]


async def check_first(
    database: "asyncpg.Connection[Any]", wanted: list[Correction], name: str, period: Period
) -> list[Correction]:
    """Return them with those marked that were posted before. Raises UsageError when usage of the period was
    corrected before, but as another name, period or model.

    A rating is against what was charged, so that a second correction would be added to the first.
    """
    users = {correction.user_id for correction in wanted}
    span, model = _span(period), _model(period)
    made = await database.fetch(_MADE)
    for row in made:
        is_this = (row["name"], row["period"], row["model"]) == (name, span, model)
        is_apart = not _overlap(row["period"], span) or (row["model"] and model and row["model"] != model)
        if row["user_id"] in users and not is_this and not is_apart:
            raise UsageError(
                f"usage of {row['user_id']} in this period was corrected before, as {row['name']}; "
                "rate and correct the rest of the period by itself"
            )
    keys = {row["key"] for row in made}
    return [replace(each, is_posted=each.idempotency_key in keys) for each in wanted]


def post(api: Edge, wanted: list[Correction]) -> Iterator[Correction]:
    """Post each, and tell it once it stands; one posted before is not posted again.

    Raises UsageError when one was posted before with another amount, or the edge refuses.
    """
    for correction in wanted:
        api.call("POST", _ROUTE, correction.body)
        yield correction


def _span(period: Period) -> str:
    """Return the period in microseconds since 1970."""
    return "-".join(str((at - _EPOCH) // timedelta(microseconds=1)) for at in (period.since, period.until))


def _key(name: str, period: Period, user_id: str) -> str:
    parts = ("rerate", name, _span(period), _short(user_id), _model(period))
    return ":".join(part for part in parts if part)


def _model(period: Period) -> str:
    """Return the model's part of a key: nothing where it is every model."""
    return "" if period.model is None else _short(period.model)


def _overlap(one: str, other: str) -> bool:
    """Say whether two periods do; what is none, because somebody made up a key of their own, does not."""
    found, others = _PERIOD.fullmatch(one), _PERIOD.fullmatch(other)
    if found is None or others is None:
        return False
    (since, until), (others_since, others_until) = map(int, found.groups()), map(int, others.groups())
    return since < others_until and others_since < until


def _short(name: str) -> str:
    """Return an id's part of a key: it may be longer than a key, or hold a colon."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]

"""Which holds may be taken."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias
from uuid import UUID

from services.billing.domain.hold import Hold, HoldState
from shared.kernel.errors import ConflictError, InsufficientCreditsError

Admission: TypeAlias = Hold | InsufficientCreditsError | ConflictError


def admit(
    wanted: Sequence[Hold], standing: Mapping[tuple[UUID, int], Hold], available_micros: Mapping[str, int]
) -> list[Admission]:
    """Answer each hold in turn: itself when it is taken, the standing one when it was taken before.

    `available_micros` by user, who has 0 when absent; `standing` by run and attempt.
    """
    holds, left, answers = dict(standing), dict(available_micros), list[Admission]()
    for hold in wanted:
        key = (hold.run_id, hold.attempt)
        if key in holds:
            answers.append(_again(hold, holds[key]))
        elif hold.amount_micros > left.get(hold.user_id, 0):
            answers.append(InsufficientCreditsError("not enough credits for this run"))
        else:
            left[hold.user_id] = left.get(hold.user_id, 0) - hold.amount_micros
            holds[key] = hold
            answers.append(hold)
    return answers


def _again(hold: Hold, standing: Hold) -> Hold | ConflictError:
    if standing.user_id != hold.user_id or standing.state is not HoldState.HELD:
        return ConflictError("this attempt was authorized before, and is over")
    return standing

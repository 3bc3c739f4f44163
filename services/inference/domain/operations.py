"""What is particular to each of a provider's endpoints: where it is, and how its answers are read."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.inference.domain import answers, response_answers
from services.inference.domain.generated import Text
from services.inference.domain.refusals import Refusal
from shared.kernel.names import Operation

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """Of a whole answer, or of one chunk of it. `is_finished`: the chunk after which nothing needs to come.

    `refusal`: the error that came under HTTP 200.
    """

    path: str
    is_answer: Callable[[object], bool]
    is_finished: Callable[[Body], bool]
    generated: Callable[[Body], Iterable[Text]]
    usage: Callable[[Body], Body | None]
    refusal: Callable[[object], Refusal | None]


def _is_embeddings(body: object) -> bool:
    return isinstance(body, dict) and isinstance(body.get("data"), list)


READINGS: Final[Mapping[Operation, Reading]] = {
    Operation.CHAT: Reading(
        "/chat/completions",
        answers.is_answer,
        answers.is_finished,
        answers.generated,
        answers.usage_in,
        answers.refusal_in,
    ),
    Operation.EMBEDDINGS: Reading(
        "/embeddings", _is_embeddings, _is_embeddings, lambda _: (), answers.usage_in, answers.refusal_in
    ),
    Operation.RESPONSES: Reading(
        "/responses",
        response_answers.is_answer,
        response_answers.is_finished,
        response_answers.generated,
        response_answers.usage_in,
        response_answers.refusal_in,
    ),
}

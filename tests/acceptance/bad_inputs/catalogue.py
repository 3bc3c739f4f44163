"""Bad inputs by kind, as data."""

from collections.abc import Mapping
from typing import Final

from tests.acceptance.bad_inputs import (
    choices,
    councils,
    encoding,
    events,
    headers,
    idempotency,
    ids,
    keys,
    media,
    money,
    numbers,
    queries,
    roles,
    sizes,
    structure,
    texts,
    tokens,
)
from tests.acceptance.bad_inputs.case import Case

BAD_INPUTS: Final[Mapping[str, tuple[Case, ...]]] = {
    "encoding": encoding.CASES,
    "structure": structure.CASES,
    "numbers": numbers.CASES,
    "texts": texts.CASES,
    "media": media.CASES,
    "sizes": sizes.CASES,
    "headers": headers.CASES,
    "tokens": tokens.CASES,
    "roles": roles.CASES,
    "ids": ids.CASES,
    "idempotency": idempotency.CASES,
    "events": events.CASES,
    "queries": queries.CASES,
    "councils": councils.CASES,
    "choices": choices.CASES,
    "keys": keys.CASES,
    "money": money.CASES,
}

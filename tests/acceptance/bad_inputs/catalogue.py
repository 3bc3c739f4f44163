"""What a client may send that nobody should: over three hundred requests, each refused in its own way."""

from typing import Final

from tests.acceptance.bad_inputs import (
    bodies,
    chats,
    headers,
    identifiers,
    keys,
    money,
    queries,
    repeats,
    settings,
    tokens,
    wire,
)
from tests.acceptance.bad_inputs.case import BadInput

KINDS: Final = (bodies, chats, headers, identifiers, keys, money, queries, repeats, settings, tokens, wire)
ALL: Final[tuple[BadInput, ...]] = tuple(case for kind in KINDS for case in kind.CASES)

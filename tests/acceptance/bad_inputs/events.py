"""`Last-Event-ID`s that no event has."""

from typing import Final

from tests.acceptance.bad_inputs.case import Case, case

_RUN: Final = "GET /api/runs/<own_run>/events"
_COUNCIL: Final = "GET /api/councils/<own_council>/events"
_RUNS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "less than nothing": b"-1",
    "a plus": b"+1",
    "a word": b"last",
    "half an event": b"1.5",
    "an exponent": b"1e3",
    "ten digits": b"4294967296",
    "a thousand digits": b"9" * 1_000,
    "Arabic digits": "\u0661".encode(),
    "a digit on high": "\u00b2".encode("latin-1"),
    "underscores": b"1_0",
    "two": b"1 2",
    "a list": b"1, 2",
    "a council's": b"1.2",
    "a key": b"<canary>",
}
_COUNCILS: Final[dict[str, bytes]] = {
    "nothing": b"",
    "a run's": b"1",
    "too many places": b"1.2.3",
    "a place of nothing": b"1.",
    "a place of less than nothing": b"1.-2",
    "a place of a word": b"a.b",
    "places beyond measure": b"1." * 5_000,
    "a place on high": "1.\u00b9".encode("latin-1"),
}

CASES: Final[tuple[Case, ...]] = (
    *(case(f"a run's: {name}", _RUN, headers={"Last-Event-ID": value}) for name, value in _RUNS.items()),
    *(
        case(f"a council's: {name}", _COUNCIL, headers={"Last-Event-ID": value})
        for name, value in _COUNCILS.items()
    ),
)

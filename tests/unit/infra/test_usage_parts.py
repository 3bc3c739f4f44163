"""The parts of the analysts' tools that need no broker."""

import csv
import random
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from infra.analytics.checking import Checker, Event
from infra.analytics.columns import COLUMNS, row
from infra.analytics.seen import Seen
from infra.analytics.summary import Summary
from infra.analytics.window import Window
from infra.analytics.writers import NdjsonWriter, whole_file, writer
from infra.event_stream import Entry
from shared.contracts.credits import CreditsAdjusted, CreditsCharged, CreditsGranted
from shared.contracts.message import Message
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from tests.envelopes import event_body

pytestmark = pytest.mark.unit

_GOLDEN = Path(__file__).parents[1] / "contracts" / "golden"
_CONTRACTS: tuple[type[Message], ...] = (UsageRecorded, CreditsCharged, CreditsGranted, CreditsAdjusted)
_SENDERS = {"usage": "r_inference", "credits": "r_billing"}


def _golden(key: str) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads((_GOLDEN / f"{key}.json").read_bytes())
    return found


def _body(contract: type[Message] = UsageRecorded, **changed: Any) -> bytes:
    message = contract.model_validate(_golden(contract.ROUTING_KEY))
    return orjson.dumps({**orjson.loads(event_body(message, source="x")), **changed})


def _check(body: bytes, sender: str) -> tuple[Event | None, list[str]]:
    told: list[str] = []
    return Checker("r", told.append).check(Entry(7, sender, body)), told


@pytest.mark.parametrize("contract", _CONTRACTS, ids=lambda contract: contract.ROUTING_KEY)
def test_each_event_counts_from_its_publisher_only(contract: type[Message]) -> None:
    own = _SENDERS[contract.ROUTING_KEY.split(".")[0]]
    event, told = _check(_body(contract), own)
    assert event is not None
    assert (event.type, told) == (contract.ROUTING_KEY, [])
    for other in ("", "r_api_edge", "other_inference", *({*_SENDERS.values()} - {own})):
        event, told = _check(_body(contract), other)
        assert event is None
        assert "offset 7" in told[0]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1"], ids=repr)
def test_no_text_is_a_formula_in_a_spreadsheet(text: str, tmp_path: Path) -> None:
    told = {}
    for name in ("csv", "ndjson"):
        with (tmp_path / name).open("w+b") as file:
            made = writer(name, file)
            made.write([[text, -1, *[None] * (len(COLUMNS) - 2)]])
            made.close()
        told[name] = (tmp_path / name).read_bytes().decode()
    cells = list(csv.reader(StringIO(told["csv"], newline="")))[1]
    assert cells[:2] == [f"'{text}", "-1"]
    assert list(orjson.loads(told["ndjson"]).values())[:2] == [text, -1]


@pytest.mark.parametrize("body", [b"", b"1", b"[]", b"{}", b'{"id":1}', b'{"id":"x"'], ids=repr)
def test_what_is_no_cloud_event_is_left_out(body: bytes) -> None:
    assert _check(body, "r_inference") == (None, ["left out offset 7: it is no CloudEvent of ours"])


@pytest.mark.parametrize(
    "changed",
    [
        {"specversion": "2"},
        {"time": "x"},
        {"time": "2026-01-01T00:00:00"},
        {"data": []},
        {"type": "other.usage.recorded.v1"},
        {"type": 1},
        {"id": ""},
    ],
    ids=str,
)
def test_what_is_no_event_of_ours_is_left_out(changed: dict[str, Any]) -> None:
    told = ["left out offset 7: it is no CloudEvent of ours"]
    assert _check(_body(**changed), "r_inference") == (None, told)


def test_many_left_out_are_told_in_one_line() -> None:
    told: list[str] = []
    checker = Checker("r", told.append)
    for offset in range(100):
        checker.check(Entry(offset, "", b""))
    checker.conclude()
    assert (len(told), told[-1]) == (21, "left out 100 entries in all")


def test_the_time_of_usage_is_the_same_in_every_repeat() -> None:
    first, again = (_check(_body(time=f"2026-11-2{day}T00:00:00Z"), "r_inference")[0] for day in (1, 2))
    assert first is not None
    assert again is not None
    assert first.time == again.time == datetime(2026, 11, 20, 12, 0, 2, tzinfo=UTC)


@pytest.mark.parametrize("contract", _CONTRACTS, ids=lambda contract: contract.ROUTING_KEY)
def test_no_field_of_a_contract_is_forgotten(contract: type[Message]) -> None:
    """A new field needs a column, or a reason not to have one."""
    flat = {"granted_by": "made_by", "adjusted_by": "made_by", "tokens": "tokens_source", "usage_raw": "id"}
    assert {flat.get(name, name) for name in contract.model_fields} <= set(COLUMNS)


def test_a_row_says_what_the_event_said() -> None:
    event, _ = _check(_body(), "r_inference")
    assert event is not None
    found = dict(zip(COLUMNS, row(event), strict=True))
    told = _golden("usage.recorded.v1")
    assert (found["offset"], found["type"], found["is_byok"]) == (7, "usage.recorded.v1", False)
    assert found["prompt_tokens"] == told["tokens"]["prompt"]
    assert {name: found[name] for name in ("run_id", "cost_micros", "queue_ms", "stream")} == {
        name: told[name] for name in ("run_id", "cost_micros", "queue_ms", "stream")
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempt": "1"},
        {"attempt": 2**63},
        {"stream": 1},
        {"flow": 7},
        {"tokens": {"prompt": 1}},
        {"tokens": 7},
    ],
    ids=str,
)
def test_a_value_of_another_kind_is_refused(wrong: dict[str, Any]) -> None:
    data = {**_golden("usage.recorded.v1"), **wrong}
    event, _ = _check(_body(data=data), "r_inference")
    assert event is not None
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError)):
        row(event)


def test_repeats_are_told_exactly_in_little_memory() -> None:
    rng, seen = random.Random(7), Seen(kept_max=100)
    ids = [str(new_id()) for _ in range(5_000)]
    late = [
        *ids,
        *(str(UUID(int=rng.getrandbits(128))) for _ in range(100)),
        "not a uuid",
        ids[0].upper()[:8],
    ]
    assert all(seen.add(event_id) for event_id in late)
    rng.shuffle(late)
    assert not any(seen.add(event_id) for event_id in late)
    assert all(seen.add(str(new_id())) for _ in range(1_000))


def test_a_window_is_up_to_but_without_its_end() -> None:
    first = datetime(2026, 8, 1, tzinfo=UTC)
    window = Window(first, first + timedelta(days=1))
    times = (first - timedelta(microseconds=1), first, first + timedelta(hours=23), first + timedelta(days=1))
    assert [window.holds(Event(0, "i", "t", time, {})) for time in times] == [False, True, True, False]


def test_a_charge_before_its_usage_and_without_it_counts_for_nobody_else() -> None:
    usage, charge = _golden("usage.recorded.v1"), _golden("credits.charged.v1")
    other = {**charge, "usage_id": str(new_id()), "charged_micros": 1}
    summary, when = Summary(("flow",)), datetime(2026, 8, 1, tzinfo=UTC)
    summary.count(Event(0, "u", "usage.recorded.v1", when, usage), is_in=True)
    summary.count(Event(1, "o", "credits.charged.v1", when, other), is_in=True)
    for _ in range(2):
        summary.count(Event(2, "c", "credits.charged.v1", when, charge), is_in=False)
    assert summary.total().charged_micros == charge["charged_micros"]


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "usage.ndjson"
    with pytest.raises(TypeError), whole_file(path) as file:
        NdjsonWriter(file).write([[object()] * len(COLUMNS)])  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []
    with whole_file(path) as file:
        assert not path.exists()
        file.write(b"x")
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("usage.ndjson", "x")]

"""What analysts get: exports in three formats, each event once; sums; the queries of docs/analytics.md."""

import asyncio
import csv
import itertools
import json
import os
import re
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aio_pika
import duckdb
import pyarrow.parquet
import pytest
import pytest_asyncio

from infra.analytics.columns import COLUMNS
from infra.bootstrap import Servers
from infra.event_stream import EventStream
from infra.local.home import CHECKOUT
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, INFERENCE
from tests.realm import TestRealm, temporary_realm
from tests.stream_filler import Told, fill, told
from tests.usage_history import History, history, second_attempts

pytestmark = pytest.mark.integration

_PAGE: Final = (CHECKOUT / "docs" / "analytics.md").read_text()
_QUERIES: Final = re.findall(r"^```sql\n(.*?)^```", _PAGE, re.MULTILINE | re.DOTALL)
_MANY: Final = 10_000


@dataclass(frozen=True)
class Analyst:
    """The command, with the analyst's address and nothing else."""

    realm: str
    amqp_url: str
    folder: Path

    async def run(self, *words: str) -> tuple[int, str, str]:
        """Return exit code, stdout and stderr."""
        process = await self._start(*words)
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    @asynccontextmanager
    async def running(self, *words: str) -> AsyncIterator[asyncio.StreamReader]:
        """Its stdout, while it runs; it ends by an interrupt."""
        process = await self._start(*words)
        assert process.stdout is not None
        try:
            yield process.stdout
        finally:
            process.send_signal(signal.SIGINT)
            await process.communicate()
        assert process.returncode == 130

    async def _start(self, *words: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "infra.cli", "--realm", self.realm, "usage", *words),
            env={
                "PATH": os.environ["PATH"],
                "LATCHKEY_HOME": str(self.folder / "no-home"),
                "LATCHKEY_ANALYST_AMQP_URL": self.amqp_url,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def export(self, form: str, *words: str) -> tuple[Path, str]:
        """Return the file and what was told on the way."""
        path = self.folder / f"{new_id().hex}.{form}"
        code, _, told = await self.run("export", "--format", form, "--out", str(path), *words)
        assert code == 0, told
        return path, told


@pytest.fixture(scope="module")
def made() -> History:
    found = history()
    second_attempts(found)
    return found


@pytest_asyncio.fixture(scope="module")
async def told_realm(
    servers: Servers, tmp_path_factory: pytest.TempPathFactory, made: History
) -> AsyncIterator[TestRealm]:
    """A realm whose stream holds the history, some of it twice, and what others put there."""
    folder = tmp_path_factory.mktemp("analyst")
    async with temporary_realm(servers, folder) as realm:
        await fill(realm, INFERENCE, made.usage_told())
        await fill(realm, BILLING, made.money_told())
        await fill(realm, BILLING, [Told("credits.x.v1", told(made.usage[0], event_id=str(new_id())).body)])
        await _put_as_nobody(realm, b"no event", told(made.usage[1], event_id=str(new_id())).body)
        yield realm


@pytest.fixture(scope="module")
def analyst(told_realm: TestRealm, tmp_path_factory: pytest.TempPathFactory) -> Analyst:
    url = told_realm.admin["LATCHKEY_ANALYST_AMQP_URL"]
    return Analyst(told_realm.name, url, tmp_path_factory.mktemp("exports"))


async def _put_as_nobody(realm: TestRealm, *bodies: bytes) -> None:
    async with await aio_pika.connect(realm.admin["LATCHKEY_AMQP_URL"]) as connection:
        exchange = await (await connection.channel()).get_exchange("usage", ensure=False)
        for body in bodies:
            await exchange.publish(aio_pika.Message(body), "usage.audit.v1")


@pytest_asyncio.fixture(scope="module")
async def exported(analyst: Analyst) -> tuple[Path, str]:
    return await analyst.export("parquet")


def _rows(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    return found


def _ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["id"] for row in rows]


async def test_each_event_is_exported_once_whatever_was_repeated(
    exported: tuple[Path, str], made: History
) -> None:
    path, said = exported
    rows = _rows(path)
    assert Counter(row["type"] for row in rows) == {
        "usage.recorded.v1": len(made.usage),
        "credits.charged.v1": len(made.charges),
        "credits.granted.v1": len(made.grants),
        "credits.adjusted.v1": len(made.adjustments),
    }
    usage = {row["usage_id"]: row for row in rows if row["type"] == "usage.recorded.v1"}
    assert set(usage) == {str(event.usage_id) for event in made.usage}
    assert {key: row["cost_micros"] for key, row in usage.items()} == {
        str(event.usage_id): event.cost_micros for event in made.usage
    }
    assert f"{len(made.usage) // 7} repeats dropped" in said


async def test_what_no_service_published_is_told_by_offset_and_left_out(exported: tuple[Path, str]) -> None:
    _, said = exported
    left_out = re.findall(r"left out offset (\d+): (.*)", said)
    assert [int(offset) for offset, _ in left_out] == sorted(int(offset) for offset, _ in left_out)
    reasons = [reason for _, reason in left_out]
    assert len(reasons) == 3
    assert "_billing, not by" in reasons[0]
    assert "no CloudEvent" in reasons[1]
    assert "nobody known, not by" in reasons[2]
    assert "3 left out" in said


@pytest.mark.parametrize("number", range(len(_QUERIES)))
async def test_every_query_of_the_page_answers(exported: tuple[Path, str], number: int) -> None:
    assert _answer(_QUERIES[number], exported[0])


def _answer(query: str, path: Path) -> list[Any]:
    with duckdb.connect() as database:
        return database.execute(query.replace("usage.parquet", str(path))).fetchall()


async def test_what_was_charged_is_what_it_cost(exported: tuple[Path, str], made: History) -> None:
    [query] = [query for query in _QUERIES if "payable" in query]
    [[attempts, cost, charged, waiting, wrong]] = _answer(query, exported[0])
    assert (attempts, waiting, wrong) == (len(made.charges), 0, 0)
    assert cost == charged == sum(charge.charged_micros for charge in made.charges) / 1e6


def test_the_page_explains_every_column_and_no_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", _PAGE, re.MULTILINE)
    assert rows == [(name, kind.value) for name, kind in COLUMNS.items()]


async def test_the_formats_say_the_same(analyst: Analyst, exported: tuple[Path, str]) -> None:
    ndjson, _ = await analyst.export("ndjson")
    text, _ = await analyst.export("csv")
    rows = _rows(exported[0])
    lines = [json.loads(line) for line in ndjson.read_text().splitlines()]
    assert [{name: _typed(name, value) for name, value in line.items()} for line in lines] == rows
    with text.open(newline="") as file:
        cells = list(csv.DictReader(file))
    assert [_cell(row["is_byok"]) for row in rows] == [cell["is_byok"] for cell in cells]
    for name in ("offset", "id", "user_id", "cost_micros", "reason"):
        assert [_cell(row[name]) for row in rows] == [cell[name] for cell in cells]


def _typed(name: str, value: Any) -> Any:
    is_time = value is not None and COLUMNS[name] == "timestamp"
    return datetime.fromisoformat(value).replace(tzinfo=None) if is_time else value


def _cell(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


async def test_windows_side_by_side_neither_overlap_nor_leave_a_gap(
    analyst: Analyst, exported: tuple[Path, str], made: History
) -> None:
    parts: list[str] = []
    for first, last in itertools.pairwise(made.times):
        path, _ = await analyst.export("parquet", "--from", first.isoformat(), "--to", last.isoformat())
        rows = _rows(path)
        assert all(first <= row["time"].replace(tzinfo=UTC) < last for row in rows)
        parts += _ids(rows)
    assert Counter(parts) == Counter(str(event.usage_id) for event in made.usage)


async def test_an_export_begins_at_an_offset(analyst: Analyst, exported: tuple[Path, str]) -> None:
    path, _ = await analyst.export("parquet", "--from", "100")
    assert [row["offset"] for row in _rows(path)][:1] == [100]


async def test_the_summary_is_the_sum(analyst: Analyst, made: History) -> None:
    code, out, _ = await analyst.run("summary", "--by", "flow,key_source", "--format", "json")
    assert code == 0
    told = json.loads(out)
    charged = {charge.usage_id: charge.charged_micros for charge in made.charges}
    wanted: Counter[tuple[str, str | None, str]] = Counter()
    for event in made.usage:
        for name, amount in _sums(event, charged.get(event.usage_id, 0)).items():
            wanted[event.flow, event.key_source, name] += amount
    assert {
        (group["flow"], group["key_source"], name): group[name]
        for group in told["groups"]
        for name in _sums(made.usage[0], 0)
    } == dict(wanted)
    with_key = [event.key_source for event in made.usage if event.key_source]
    assert told["total"]["byok_share"] == round(sum(key.is_byok for key in with_key) / len(with_key), 4)


def _sums(event: UsageRecorded, charged: int) -> dict[str, int]:
    return {
        "runs": int(event.attempt == 1),
        "attempts": 1,
        "prompt_tokens": event.tokens.prompt,
        "completion_tokens": event.tokens.completion,
        "cost_micros": event.cost_micros or 0,
        "charged_micros": charged,
        "unrated": int(event.cost_micros is None),
    }


async def test_a_charge_counts_with_its_attempt_whenever_it_came(analyst: Analyst, made: History) -> None:
    """The charges' own time is now; their attempts were hours ago."""
    first, last = made.times[:2]
    window = ("--from", first.isoformat(), "--to", last.isoformat())
    _, out, _ = await analyst.run("summary", *window, "--format", "json")
    ended = {event.usage_id for event in made.usage if event.finished_at < last}
    charged = sum(charge.charged_micros for charge in made.charges if charge.usage_id in ended)
    assert json.loads(out)["total"]["charged_micros"] == charged > 0


async def test_tail_prints_the_stream_as_it_is(analyst: Analyst, made: History) -> None:
    code, out, said = await analyst.run("tail", "--from", "first", "--no-follow")
    events = [json.loads(line) for line in out.splitlines()]
    usage = [event["id"] for event in events if event["type"] == "latchkey.usage.recorded.v1"]
    assert code == 0
    assert set(usage) == {str(event.usage_id) for event in made.usage}
    assert len(usage) - len(set(usage)) == len(made.usage) // 7, "repeats are there"
    assert said.count("left out offset") == 3
    _, later, _ = await analyst.run("tail", "--from", str(events[-1]["offset"]), "--no-follow")
    assert [json.loads(line) for line in later.splitlines()] == events[-1:]


async def test_tail_begins_at_a_time(analyst: Analyst, made: History) -> None:
    _, out, _ = await analyst.run("tail", "--from", made.times[2].isoformat(), "--no-follow")
    usage = {event["id"] for event in map(json.loads, out.splitlines()) if "usage" in event["type"]}
    assert usage == {str(event.usage_id) for event in made.usage if event.finished_at >= made.times[2]}


async def test_tail_follows_from_now_on(analyst: Analyst, told_realm: TestRealm, made: History) -> None:
    async with analyst.running("tail") as tail:
        event = made.usage[0].model_copy(update={"usage_id": new_id()})
        line: asyncio.Future[bytes] = asyncio.ensure_future(tail.readline())
        async with asyncio.timeout(30):
            while not line.done():
                await fill(told_realm, INFERENCE, [told(event, event_id=str(event.usage_id))])
                await asyncio.sleep(0.2)
        assert json.loads(line.result())["id"] == str(event.usage_id)


async def test_the_summary_is_a_table_for_people(analyst: Analyst, made: History) -> None:
    _, out, _ = await analyst.run("summary", "--by", "model")
    header, *lines = out.splitlines()
    assert header.split()[:4] == ["model", "runs", "attempts", "byok"]
    assert [line.split()[0] for line in lines][-1] == "total"
    assert {line.split()[0] for line in lines[:-1]} == {event.model for event in made.usage}


async def test_many_events_are_exported_exactly(
    analyst: Analyst, told_realm: TestRealm, made: History
) -> None:
    sample = made.usage[0]
    first = await EventStream(analyst.amqp_url).end()
    events = [sample.model_copy(update={"usage_id": new_id()}) for _ in range(_MANY)]
    repeated = [*events, *events[:: _MANY // 100]]
    await fill(told_realm, INFERENCE, (told(event, event_id=str(event.usage_id)) for event in repeated))
    path, said = await analyst.export("parquet", "--from", str(first))
    assert _ids(_rows(path)) == [str(event.usage_id) for event in events]
    assert "100 repeats dropped" in said
    assert re.search(r"[\d,]+ events, [\d,]+/s, offset [\d,]+ of [\d,]+ \(100%\)", said)


async def test_a_failed_export_leaves_the_old_file_and_nothing_else(analyst: Analyst, tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text("old")
    nowhere = Analyst("gone", "amqp://a:b@127.0.0.1:9/gone", tmp_path)
    code, _, said = await nowhere.run("export", "--format", "csv", "--out", str(path))
    assert code == 1
    assert len(said.splitlines()) == 1
    assert path.read_text() == "old"
    assert _names(tmp_path) == ["usage.csv"]


def _names(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]

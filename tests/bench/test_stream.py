"""How fast the usage stream is replayed and exported, and in how much memory; a million events."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow.parquet
import pytest
import pytest_asyncio

from infra.bootstrap import Servers
from shared.kernel.ids import new_id
from shared.kernel.names import INFERENCE
from tests.realm import TestRealm, temporary_realm
from tests.stream_filler import Told, fill, told
from tests.usage_history import history

pytestmark = [pytest.mark.bench, pytest.mark.timeout(900)]

_EVENTS: Final = 1_000_000
_RATE_MIN: Final = 5_000
_MEMORY_MAX_MB: Final = 300
_FORMATS: Final = ("ndjson", "parquet")


@dataclass(frozen=True)
class Ran:
    """One command: events a second (of the whole command, its start included), CPU seconds, peak memory."""

    took_s: float
    cpu_s: float
    memory_mb: float

    def __str__(self) -> str:
        rate, cpu_us = _EVENTS / self.took_s, self.cpu_s / _EVENTS * 1e6
        return f"{rate:8,.0f} events/s, {cpu_us:5.1f} µs CPU an event, {self.memory_mb:4.0f} MB at most"


@pytest_asyncio.fixture(scope="module")
async def full(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TestRealm]:
    async with temporary_realm(servers, tmp_path_factory.mktemp("stream")) as realm:
        start = time.perf_counter()
        await fill(realm, INFERENCE, _events())
        sys.stdout.write(f"\n{_EVENTS / (time.perf_counter() - start):,.0f} events/s put into the stream\n")
        yield realm


def _events() -> Iterator[Told]:
    """Attempts of every kind, again and again, each under an id of its own."""
    patterns = [
        (str(event.usage_id).encode(), told(event, event_id=str(event.usage_id))) for event in history().usage
    ]
    for number in range(_EVENTS):
        own, pattern = patterns[number % len(patterns)]
        yield Told(pattern.key, pattern.body.replace(own, str(new_id()).encode()))


@pytest.mark.parametrize("form", _FORMATS)
async def test_export(full: TestRealm, form: str, tmp_path: Path) -> None:
    path = tmp_path / f"usage.{form}"
    ran = await _run(full, "export", "--format", form, "--out", str(path))
    sys.stdout.write(f"\nexport to {form:<8}{ran}; {path.stat().st_size / 1e6:,.0f} MB\n")
    assert _count(path) == _EVENTS
    assert ran.memory_mb < _MEMORY_MAX_MB
    assert _EVENTS / ran.took_s >= _RATE_MIN


async def test_summary(full: TestRealm) -> None:
    ran = await _run(full, "summary", "--by", "flow,key_source,day")
    sys.stdout.write(f"\nsummary           {ran}\n")
    assert ran.memory_mb < _MEMORY_MAX_MB


def _count(path: Path) -> int:
    if path.suffix == ".parquet":
        return int(pyarrow.parquet.read_metadata(path).num_rows)
    with path.open("rb") as file:
        return sum(1 for _ in file)


async def _run(realm: TestRealm, *words: str) -> Ran:
    return await asyncio.to_thread(_measured, realm, words)


def _measured(realm: TestRealm, words: tuple[str, ...]) -> Ran:
    url = realm.admin["LATCHKEY_ANALYST_AMQP_URL"]
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.cli", "--realm", realm.name, "usage", *words],
        env={"PATH": os.environ["PATH"], "LATCHKEY_ANALYST_AMQP_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Ran(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)

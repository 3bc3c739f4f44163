"""Files of rows: NDJSON, CSV, Parquet. A file is there when it is whole, and not before."""

import contextlib
import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Final, Protocol

import orjson

from infra.analytics.columns import COLUMNS, Kind, Row, Value

FORMATS: Final = ("ndjson", "csv", "parquet")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_BATCH: Final = 2_000
_ROW_GROUP: Final = 50_000


class MissingLibraryError(Exception):
    """A format needs a library that is not installed."""


class Writer(Protocol):
    """Takes rows in the order of `COLUMNS`."""

    def write(self, rows: Sequence[Row]) -> None: ...

    def close(self) -> None:
        """Write what is left; the file itself stays open."""


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file beside `path` that takes its place at the end, or is gone when something fails."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()


def writer(name: str, file: IO[bytes]) -> Writer:
    """Return the writer of a format. Raises MissingLibraryError."""
    if name == "parquet":
        return ParquetWriter(file)
    return CsvWriter(file) if name == "csv" else NdjsonWriter(file)


class NdjsonWriter:
    """One object a line, every column in it; times as RFC 3339 in UTC."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, rows: Sequence[Row]) -> None:
        options = orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE
        self._file.write(
            b"".join(orjson.dumps(dict(zip(COLUMNS, row, strict=True)), option=options) for row in rows)
        )

    def close(self) -> None:
        pass


class CsvWriter:
    """RFC 4180 with a header; nothing for what is unknown, times as RFC 3339 in UTC.

    A text that a spreadsheet would take for a formula has an apostrophe before it (OWASP, CSV injection).
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._lines = _Lines()
        self._csv = csv.writer(self._lines)
        self._csv.writerow(COLUMNS)

    def write(self, rows: Sequence[Row]) -> None:
        self._csv.writerows([_plain(value) for value in row] for row in rows)
        self._file.write(self._lines.taken())

    def close(self) -> None:
        self._file.write(self._lines.taken())


class _Lines:
    """What the csv module writes to."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def write(self, line: str) -> None:
        self._lines.append(line)

    def taken(self) -> bytes:
        text, self._lines = "".join(self._lines), []
        return text.encode()


def _plain(value: Value) -> Value:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return str(value).lower() if isinstance(value, bool) else value


class ParquetWriter:
    """Row groups of 50,000, texts by dictionary, times in microseconds of UTC, without a zone.

    Rows wait for their group as arrow's arrays: as Python's objects they would take five times as much.
    """

    def __init__(self, file: IO[bytes]) -> None:
        pyarrow, parquet = _pyarrow()
        self._pyarrow = pyarrow
        self._schema = _schema(pyarrow)
        texts = [name for name, kind in COLUMNS.items() if kind is Kind.TEXT]
        self._parquet = parquet.ParquetWriter(
            file, self._schema, compression="zstd", use_dictionary=texts, write_statistics=True
        )
        self._rows: list[Row] = []
        self._waiting: list[Any] = []

    def write(self, rows: Sequence[Row]) -> None:
        self._rows.extend(rows)
        if len(self._rows) >= _BATCH:
            self._pack()
        if sum(batch.num_rows for batch in self._waiting) >= _ROW_GROUP:
            self._write_group()

    def close(self) -> None:
        self._pack()
        self._write_group()
        self._parquet.close()

    def _pack(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [
                self._pyarrow.array(column, field.type)
                for column, field in zip(columns, self._schema, strict=True)
            ]
            self._waiting.append(self._pyarrow.RecordBatch.from_arrays(arrays, schema=self._schema))
            self._rows = []

    def _write_group(self) -> None:
        if self._waiting:
            table = self._pyarrow.Table.from_batches(self._waiting, schema=self._schema)
            self._parquet.write_table(table, row_group_size=table.num_rows)
            self._waiting = []


def _schema(pyarrow: Any) -> Any:
    kinds = {
        Kind.TEXT: pyarrow.string(),
        Kind.INTEGER: pyarrow.int64(),
        Kind.NUMBER: pyarrow.float64(),
        Kind.TRUTH: pyarrow.bool_(),
        Kind.TIME: pyarrow.timestamp("us"),
    }
    return pyarrow.schema([pyarrow.field(name, kinds[kind]) for name, kind in COLUMNS.items()])


def _pyarrow() -> tuple[Any, Any]:
    try:  # it is large, and for this format only
        pyarrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise MissingLibraryError(
            "Parquet needs pyarrow: `make venv`, or `uv sync --group analytics`; ndjson and csv do not"
        ) from None
    # The system's allocator gives memory back; arrow's own keeps what one row group took for the next.
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())
    return pyarrow, parquet

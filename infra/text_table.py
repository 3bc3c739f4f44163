"""Tables for a terminal."""

from collections.abc import Iterator, Sequence


def text_table(rows: Sequence[Sequence[str]], *, texts: int) -> Iterator[str]:
    """Yield a line a row, columns aligned: the first `texts` of them to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (*map(str.ljust, row[:texts], widths), *map(str.rjust, row[texts:], widths[texts:]))
        yield "  ".join(cells).rstrip()

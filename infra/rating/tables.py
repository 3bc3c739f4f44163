"""A rating as text or as JSON lines."""

from collections.abc import Iterator, Mapping

import orjson

from infra.rating.rerate import Rerated, Sum
from infra.text_table import text_table
from shared.kernel.money import format_credits

_COLUMNS = ("attempts", "unrated", "charged", "rated now", "difference")


def as_text(rerated: Rerated) -> Iterator[str]:
    """Tables by model and by user, the largest difference first, and the total; in credits."""
    yield from _table("model", rerated.models)
    yield ""
    yield from _table("user", rerated.users)
    yield ""
    yield from _table("", {"total": rerated.total})


def as_ndjson(rerated: Rerated) -> Iterator[str]:
    """One object a line; in credit micros."""
    for kind, sums in (("model", rerated.models), ("user", rerated.users)):
        for name, each in _by_difference(sums):
            yield _line(kind, {kind: name}, each)
    yield _line("total", {}, rerated.total)


def _line(kind: str, named: Mapping[str, str], each: Sum) -> str:
    amounts = {
        "attempts": each.attempts,
        "unrated": each.unrated,
        "charged_micros": each.charged_micros,
        "rated_micros": each.rated_micros,
        "difference_micros": each.difference_micros,
    }
    return orjson.dumps({"kind": kind, **named, **amounts}).decode()


def _table(title: str, sums: Mapping[str, Sum]) -> Iterator[str]:
    rows = [(title, *_COLUMNS), *(_row(name, each) for name, each in _by_difference(sums))]
    return text_table(rows, texts=1)


def _row(name: str, each: Sum) -> tuple[str, ...]:
    money = (each.charged_micros, each.rated_micros)
    return (
        name,
        str(each.attempts),
        str(each.unrated),
        *map(format_credits, money),
        signed_credits(each.difference_micros),
    )


def signed_credits(micros: int) -> str:
    return f"+{format_credits(micros)}" if micros > 0 else format_credits(micros)


def _by_difference(sums: Mapping[str, Sum]) -> list[tuple[str, Sum]]:
    return sorted(sums.items(), key=lambda item: (-abs(item[1].difference_micros), item[0]))

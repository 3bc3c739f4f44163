"""A summary as a table, or as JSON."""

from dataclasses import asdict
from typing import Any, Final

import orjson

from infra.analytics.summary import Summary, Sums
from infra.text_table import text_table
from shared.kernel.money import format_credits

_TITLES: Final = ("runs", "attempts", "byok", "prompt", "completion", "cost", "charged", "unrated")
_TOTAL: Final = "total"
_NONE: Final = "-"


def as_json(summary: Summary) -> str:
    """Return `{"by", "groups", "total"}`; amounts are integer credit micros."""
    groups = [
        {**dict(zip(summary.by, group, strict=True)), **_plain(sums)} for group, sums in _ordered(summary)
    ]
    told = {"by": list(summary.by), "groups": groups, "total": _plain(summary.total())}
    return orjson.dumps(told, option=orjson.OPT_INDENT_2).decode()


def as_text(summary: Summary) -> str:
    """Return a table, dearest first, with a line of totals. Amounts are credits."""
    names = summary.by or ("",)
    rows = [[*names, *_TITLES]]
    rows += [
        [*(name or _NONE for name in group), *_cells(sums)] for group, sums in _ordered(summary) if group
    ]
    rows.append([_TOTAL, *[""] * (len(names) - 1), *_cells(summary.total())])
    return "\n".join(text_table(rows, texts=len(names)))


def _ordered(summary: Summary) -> list[tuple[tuple[str | None, ...], Sums]]:
    def dearest(item: tuple[tuple[str | None, ...], Sums]) -> Any:
        group, sums = item
        return (-sums.cost_micros, -sums.attempts, tuple(name or "" for name in group))

    def earliest(item: tuple[tuple[str | None, ...], Sums]) -> Any:
        return tuple(name or "" for name in item[0])

    return sorted(summary.groups.items(), key=earliest if summary.by[:1] == ("day",) else dearest)


def _plain(sums: Sums) -> dict[str, Any]:
    return {**asdict(sums), "byok_share": sums.byok_share}


def _cells(sums: Sums) -> list[str]:
    share = _NONE if sums.byok_share is None else f"{sums.byok_share:.1%}"
    counts = (sums.prompt_tokens, sums.completion_tokens)
    amounts = (sums.cost_micros, sums.charged_micros)
    return [
        *(str(sums.runs), str(sums.attempts), share),
        *(str(count) for count in counts),
        *(format_credits(amount) for amount in amounts),
        str(sums.unrated),
    ]

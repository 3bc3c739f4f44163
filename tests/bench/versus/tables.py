"""Figures as Markdown tables."""

from collections.abc import Iterable, Sequence
from typing import Final

from tests.bench.versus.figures import TOOLS, Cell, Figures, Results
from tests.bench.versus.gateway import BARE, DIRECT, LATCHKEY, LITELLM
from tests.bench.versus.targets import TARGETS, added, ratio
from tests.bench.versus.wire import Kind

_HEAD: Final = ("clients", "gateway", "a second", "x LiteLLM", "p50 ms", "p99 ms", "added p50", "added p99")
_TAIL: Final = ("CPU ms a run", "failed")
_FIRST: Final = ("first chunk", "added first")
_PARTS: Final = ("api_edge", "inference", "key_vault", "billing", "rabbitmq", "postgres", "vault")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table whose first column is text, and so is any column but for its numbers."""
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def number(value: float) -> str:
    """Three digits that matter, or all before the point."""
    if value != value:  # nan  # noqa: PLR0124
        return "-"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def versus_table(results: Results, kind: Kind) -> str:
    """All gateways side by side, by number of clients."""
    firsts = _FIRST if kind is Kind.STREAM else ()
    cells = sorted((cell for cell in results if cell.kind is kind), key=lambda cell: cell.clients)
    return markdown((*_HEAD, *firsts, *_TAIL), (_row(results, cell) for cell in cells))


def _row(results: Results, cell: Cell) -> list[str]:
    one, base = results[cell], results[Cell(LITELLM, cell.kind, cell.clients)]
    is_direct = cell.gateway == DIRECT
    first = [number(one.first_p50), _added(results, cell, "first_p50")] if cell.kind is Kind.STREAM else []
    return [
        *(str(cell.clients), cell.gateway, number(one.per_s), number(ratio(one.per_s, base.per_s))),
        *(number(one.p50), number(one.p99), _added(results, cell, "p50"), _added(results, cell, "p99")),
        *first,
        *("-" if is_direct else number(one.cpu_in_all), _failures(one)),
    ]


def _added(results: Results, cell: Cell, name: str) -> str:
    if cell.gateway == DIRECT:
        return "-"
    return number(added(results, cell, lambda one: float(getattr(one, name))))


def _failures(one: Figures) -> str:
    told = ", ".join(f"{fault}: {times}" for fault, times in sorted(one.faults.items()))
    return f"{one.failed} of {one.runs + one.failed}" + (f" ({told})" if told else "")


def parts_table(results: Results) -> str:
    """CPU milliseconds of each of Latchkey's parts for one run."""
    cells = [cell for cell in results if cell.gateway == LATCHKEY]
    rows = (_parts_row(cell, results[cell]) for cell in cells)
    return markdown(("run", "clients", *_PARTS, "others", "in all"), rows)


def _parts_row(cell: Cell, one: Figures) -> list[str]:
    each = [one.cpu.get(part, 0) for part in _PARTS]
    others = max(0, one.cpu_in_all - sum(each))  # the process manager, epmd, the unsealer
    return [cell.kind, str(cell.clients), *map(number, (*each, others, one.cpu_in_all))]


def tools_table(results: Results) -> str:
    """CPU milliseconds that load generator and upstream take for one run, asked directly."""
    cells = [cell for cell in results if cell.gateway == DIRECT]
    rows = (
        [cell.kind, str(cell.clients), *(number(results[cell].cpu[tool]) for tool in TOOLS)] for cell in cells
    )
    return markdown(("run", "clients", "load generator", "upstream"), rows)


def targets_table(results: Results) -> str:
    rows = (
        [
            target.what,
            f"{'≥' if target.is_floor else '≤'} {target.bound:g} x",
            f"{number(target.ratio(results, LATCHKEY))} x",
            "yes" if target.is_met(results) else "no",
            f"{number(target.ratio(results, BARE))} x",
        ]
        for target in TARGETS
    )
    return markdown(("Latchkey against LiteLLM", "target", "measured", "met", "bare pipeline"), rows)

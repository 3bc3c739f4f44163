"""The section of BENCHMARKS.md that this benchmark writes; what people wrote around it stays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.bench.versus.figures import Results
from tests.bench.versus.measuring import Plan
from tests.bench.versus.tables import markdown, parts_table, targets_table, tools_table, versus_table
from tests.bench.versus.wire import Kind

BEGIN: Final = "<!-- versus: written by `make bench ONLY=versus` -->"
END: Final = "<!-- versus: end -->"


def section(results: Results, facts: Mapping[str, str], plan: Plan, workers: int) -> str:
    """All tables, with what they were measured on."""
    parts = [
        _how(plan, workers),
        markdown(("", ""), facts.items()),
        f"### Targets\n\n{targets_table(results)}",
        f"### Plain runs\n\n{versus_table(results, Kind.PLAIN)}",
        f"### Streams of 100 chunks\n\n{versus_table(results, Kind.STREAM)}",
        f"### Latchkey's CPU milliseconds a run, by part\n\n{parts_table(results)}",
        f"### What measuring itself takes, CPU milliseconds a run (direct)\n\n{tools_table(results)}",
    ]
    return "\n\n".join(parts)


def _how(plan: Plan, workers: int) -> str:
    return (
        f"Latchkey: 1 edge, {workers} inference worker{'s' if workers > 1 else ''}, 1 key_vault, 1 billing, "
        f"RabbitMQ, Postgres and OpenBao, all on this machine. {plan.rounds} rounds of {plan.seconds:g} s "
        f"for each line, after {plan.warm_up_s:g} s of warming up."
    )


def put(path: Path, text: str) -> None:
    """Write the section in its place. Raises ValueError when the file has no such place."""
    before, _, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path.name} has no place between {BEGIN} and {END}")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")

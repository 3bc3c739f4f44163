"""The benchmark beside other gateways: what it calls an answer, makes of the numbers, and writes."""

from itertools import product
from pathlib import Path

import pytest

from tests.bench.cpu import spent_between
from tests.bench.versus.checking import fault_of
from tests.bench.versus.figures import Cell, Figures, Round, figures_of, quantile
from tests.bench.versus.gateway import BARE, DIRECT, LATCHKEY, LITELLM, LITELLM_2
from tests.bench.versus.load import Taken
from tests.bench.versus.measuring import CLIENTS, Plan
from tests.bench.versus.page import BEGIN, END, put, section
from tests.bench.versus.tables import number, versus_table
from tests.bench.versus.targets import TARGETS
from tests.bench.versus.wire import CHUNKS, Kind, plain_answer, stream_answer

pytestmark = pytest.mark.unit

STREAM = b"".join(stream_answer())


def test_the_upstreams_answers_are_right() -> None:
    assert fault_of(Kind.PLAIN, 200, plain_answer()) == ""
    assert fault_of(Kind.STREAM, 200, STREAM) == ""


@pytest.mark.parametrize(
    ("kind", "status", "body", "fault"),
    [
        (Kind.PLAIN, 429, plain_answer(), "status 429"),
        (Kind.PLAIN, 200, b'{"error": {}}', "not an answer"),
        (Kind.PLAIN, 200, plain_answer().replace(b"same", b"other"), "wrong words"),
        (Kind.STREAM, 200, STREAM.removesuffix(b"data: [DONE]\n\n"), "no [DONE]"),
        (Kind.STREAM, 200, b"".join(stream_answer()[1:]), "wrong words"),
        (Kind.STREAM, 200, b"", "not an answer"),
    ],
)
def test_what_is_wrong_is_named(kind: Kind, status: int, body: bytes, fault: str) -> None:
    assert fault_of(kind, status, body) == fault


def test_chunks_that_were_put_together_are_told() -> None:
    first, second = (event.decode() for event in stream_answer()[1:3])
    both = first.replace(" word1", " word1 word2")
    assert fault_of(Kind.STREAM, 200, STREAM.replace((first + second).encode(), both.encode())) == "99 chunks"


def test_a_process_that_began_meanwhile_counts_whole() -> None:
    before = {("edge", 1): 10.0, ("worker", 2): 5.0}
    after = {("edge", 1): 30.0, ("worker", 2): 6.0, ("worker", 3): 4.0}
    assert spent_between(before, after) == {"edge": 20.0, "worker": 5.0}


def test_figures_are_medians_of_rounds_and_quantiles_of_all_answers() -> None:
    rounds = [
        Round(Taken(1.0, [took] * runs, [took / 2] * runs, {"status 500": 1}), {"edge": 10.0, "load": 1.0})
        for took, runs in ((1.0, 10), (2.0, 20), (9.0, 5))
    ]
    found = figures_of(rounds)
    assert (found.per_s, found.p50, found.first_p50, found.p99) == (10, 2.0, 1.0, 9.0)
    assert (found.runs, found.failed, found.cpu["edge"], found.cpu_in_all) == (35, 3, 1.0, 1.0)


def test_a_quantile_of_nothing_is_no_number() -> None:
    assert number(quantile([], 0.5)) == "-"
    assert [number(value) for value in (1234.5, 12.34, 1.234)] == ["1,234", "12.3", "1.23"]


def results() -> dict[Cell, Figures]:
    """Latchkey: six times LiteLLM, adding 3 ms where that adds 10. The bare pipeline: nine times, 2 ms."""
    ours = {LATCHKEY: (600.0, 4.0), BARE: (900.0, 3.0)}
    shape = {DIRECT: (5000.0, 1.0), **ours, LITELLM: (100.0, 11.0), LITELLM_2: (150.0, 11.0)}
    return {
        Cell(name, kind, clients): Figures(
            per_s, p50, p50, p50, {"api_edge": 1.0, "load": 0.1, "upstream": 0.1}, runs=10, faults={}
        )
        for (name, (per_s, p50)), kind, clients in product(shape.items(), Kind, CLIENTS)
    }


def test_targets_are_told_and_not_held() -> None:
    assert [target.ratio(results(), LATCHKEY) for target in TARGETS] == pytest.approx([6, 4, 0.3, 6, 0.3])
    assert [target.ratio(results(), BARE) for target in TARGETS] == pytest.approx([9, 6, 0.2, 9, 0.2])
    assert [target.is_met(results()) for target in TARGETS] == [True, True, True, False, True]


def test_a_line_has_what_the_gateway_adds_and_how_it_compares() -> None:
    (line,) = (line for line in versus_table(results(), Kind.PLAIN).splitlines() if "| 16 | Latchkey" in line)
    assert line == "| 16 | Latchkey | 600 | 6.00 | 4.00 | 4.00 | 3.00 | 3.00 | 1.00 | 0 of 10 |"


def test_the_page_keeps_what_people_wrote(tmp_path: Path) -> None:
    page = tmp_path / "BENCHMARKS.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    for _ in range(2):
        put(page, section(results(), {"Date": "today"}, Plan(), workers=2))
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{END}\nafter\n")
    assert text.count("2 inference workers") == 1
    assert "old" not in text


def test_a_page_without_a_place_is_an_error(tmp_path: Path) -> None:
    page = tmp_path / "BENCHMARKS.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="no place"):
        put(page, "x")


def test_a_stream_has_a_hundred_chunks_with_words() -> None:
    assert STREAM.count(b" word") == CHUNKS

"""What `latchkey usage` says to what it cannot do, before any broker is asked."""

import argparse
from collections.abc import Callable

import pytest

from infra.commands import usage

pytestmark = pytest.mark.unit


def _parsed(words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    usage.add_to(parser.add_subparsers())
    return parser.parse_args(["usage", *words.split()])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("tail --from yesterday", "is no time like"),
        ("tail --from 99999999999999999999", "beyond all offsets"),
        ("export --format xml --out x", "invalid choice"),
        ("export --format csv", "--out"),
        ("export --format csv --out /nowhere/x.csv", "no folder /nowhere"),
        ("export --format csv --out /tmp", "is a folder"),
        ("summary --by colour", "'colour' is none of user"),
        ("summary --to first", "is no time like"),
    ],
)
def test_bad_arguments_are_told_in_a_line_and_exit_2(
    words: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        _parsed(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("last", ["2026-08-01", "2026-08-02"])
def test_a_window_that_ends_before_it_begins(last: str, capsys: pytest.CaptureFixture[str]) -> None:
    args = _parsed(f"summary --from 2026-08-02 --to {last}")
    run: Callable[[argparse.Namespace], int] = args.run
    assert run(args) == 2
    assert capsys.readouterr().err == "latchkey: --from is not before --to\n"


@pytest.mark.parametrize("kind", ["tail", "export", "summary"])
def test_help_tells_the_exit_codes(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _parsed(f"{kind} --help")
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Exit code: 0 done; 1 the stream cannot be read, or the file not written; 2 bad arguments" in said

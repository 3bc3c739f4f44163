"""Which ports a stack has, and what becomes of one that another program has taken."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.errors import StackError
from infra.local.home import Home
from infra.local.ports import ports

pytestmark = pytest.mark.unit


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_free_port_that_is_asked_for_is_had(home: Home) -> None:
    asked = ports(home, running=False)["simulator"]
    assert ports(home, running=False, edge=asked)["edge"] == asked


def test_one_that_another_program_has_is_refused_and_nothing_changes(home: Home, taken: int) -> None:
    before = ports(home, running=False)
    with pytest.raises(StackError, match=f"LATCHKEY_HTTP__PORT: another program has port {taken}"):
        ports(home, running=True, serving=True, edge=taken)
    assert ports(home, running=True) == before


def test_the_edges_own_is_no_other_programs(home: Home, taken: int) -> None:
    """While the edge serves on it."""
    (home.path / "ports.json").write_text(f'{{"edge": {taken}}}')
    assert ports(home, running=True, serving=True, edge=taken)["edge"] == taken


def test_an_edge_that_does_not_serve_gets_another_and_the_servers_keep_theirs(home: Home, taken: int) -> None:
    before = ports(home, running=False) | {"edge": taken}
    (home.path / "ports.json").write_text(str(before).replace("'", '"'))
    after = ports(home, running=True, serving=False)
    assert after["edge"] != taken
    assert {**after, "edge": taken} == before

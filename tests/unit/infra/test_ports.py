"""Which ports a stack has, and what becomes of one that another program has taken."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.local.errors import StackError
from infra.local.home import Home
from infra.local.ports import held, is_free, is_open, ports

pytestmark = pytest.mark.unit


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that another program listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_ports_stay_but_a_taken_one_is_replaced(home: Home) -> None:
    first = ports(home, running=False, edge=None)
    assert ports(home, running=False) == first
    assert len(set(first.values())) == len(first)
    with socket.create_server(("127.0.0.1", first["amqp"])):
        assert not is_free(first["amqp"])
        assert is_open(first["amqp"])
        assert ports(home, running=True) == first
        second = ports(home, running=False)
    assert {name for name in first if first[name] != second[name]} == {"amqp"}


def test_a_held_port_is_nobody_elses_to_choose(home: Home) -> None:
    mine = ports(home, running=False)["edge"]
    with held(mine):
        assert not is_free(mine)
        with held(mine):  # taken already
            pass
    assert is_free(mine)


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
    (home / "ports.json").write_text(json.dumps({"edge": taken}))
    assert ports(home, running=True, serving=True, edge=taken)["edge"] == taken


def test_an_edge_that_does_not_serve_gets_another_and_the_servers_keep_theirs(home: Home, taken: int) -> None:
    before = ports(home, running=False) | {"edge": taken}
    (home / "ports.json").write_text(json.dumps(before))
    after = ports(home, running=True, serving=False)
    assert after["edge"] != taken
    assert {**after, "edge": taken} == before

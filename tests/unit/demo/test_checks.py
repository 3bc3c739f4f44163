"""The story's checks fail when what they look at is wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.bootstrap.envfiles import write_env
from infra.demo.checks import StoryError
from infra.demo.environment import Environment
from infra.demo.ledger import Ledger, UserBooks, check_ledger
from infra.ledger.verify import Fault, Verdict

pytestmark = pytest.mark.unit

_BOOKS = UserBooks(granted_micros=5, charged_micros=2, balance_micros=3, held_micros=0, open_holds=0)
_FAULT = Fault("posted differs from transfers", "4", 5, 3)
_LEDGER = Ledger(Verdict(accounts=4, transfers=2, faults=()), users={"ada": _BOOKS})
_ENV = {
    "LATCHKEY_URL": "http://127.0.0.1:8080",
    "LATCHKEY_ADMIN_TOKEN": "lk_admin",
    "LATCHKEY_ANALYST_AMQP_URL": "amqp://analyst:secret@127.0.0.1/realm_one",
    "LATCHKEY_POSTGRES_URL": "postgresql://postgres:secret@127.0.0.1:5432/realm_one",
    "VAULT_ADDR": "http://127.0.0.1:8200",
    "VAULT_TOKEN": "secret",
    "LATCHKEY_SIMULATOR_URL": "http://127.0.0.1:9400",
}


def test_a_sound_ledger_passes() -> None:
    check_ledger(_LEDGER)


@pytest.mark.parametrize(
    "ledger",
    [
        replace(_LEDGER, whole=Verdict(4, 2, (_FAULT,))),
        replace(_LEDGER, users={"ada": replace(_BOOKS, balance_micros=4)}),
        replace(_LEDGER, users={"ada": replace(_BOOKS, held_micros=1)}),
        replace(_LEDGER, users={"ada": replace(_BOOKS, open_holds=1)}),
    ],
)
def test_a_faulty_ledger_fails(ledger: Ledger) -> None:
    with pytest.raises(StoryError):
        check_ledger(ledger)


def test_the_environment_is_read_from_a_file(tmp_path: Path) -> None:
    write_env(tmp_path / "dev.env", _ENV)
    env = Environment.read(tmp_path / "dev.env")
    assert env.realm == "realm_one"
    assert "secret" not in repr(env)


def test_what_a_file_does_not_tell_is_named(tmp_path: Path) -> None:
    write_env(tmp_path / "dev.env", {name: value for name, value in _ENV.items() if name != "VAULT_ADDR"})
    with pytest.raises(StoryError, match="VAULT_ADDR"):
        Environment.read(tmp_path / "dev.env")


def test_no_file_is_no_stack(tmp_path: Path) -> None:
    with pytest.raises(StoryError, match="is the stack up"):
        Environment.read(tmp_path / "dev.env")

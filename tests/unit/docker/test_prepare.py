"""The compose stack's first job."""

import re
from pathlib import Path

import pytest

from infra.docker.prepare import prepare

pytestmark = pytest.mark.unit


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for folder in ("admin", "rabbitmq", "vault", "postgres"):
        (tmp_path / folder).mkdir()
    return tmp_path


def everything(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_a_second_run_changes_nothing(root: Path) -> None:
    prepare(root)
    first = everything(root)
    prepare(root)
    assert everything(root) == first


def test_passwords_are_of_each_stacks_own(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    prepare(root)
    other = tmp_path_factory.mktemp("other")
    for folder in ("admin", "rabbitmq", "vault", "postgres"):
        (other / folder).mkdir()
    prepare(other)
    assert (root / "postgres/password").read_text() != (other / "postgres/password").read_text()


def test_every_blank_is_filled_in(root: Path) -> None:
    prepare(root)
    assert 'path                   = "/vault/file"' in (root / "vault/server.hcl").read_text()
    assert not re.search(r"^[^#]*\{\w+\}", (root / "vault/server.hcl").read_text(), re.MULTILINE)


def test_administrators_files_are_private(root: Path) -> None:
    prepare(root)
    assert {path.stat().st_mode & 0o777 for path in (root / "admin").iterdir()} == {0o400}

"""Every test module is one of its own."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.unit


def test_no_folder_of_tests_is_a_package() -> None:
    """In two packages of one name, files of one name would be one module, and one file's tests never run."""
    tests = Path(__file__).parents[2]
    assert [str(found.parent) for found in tests.rglob("__init__.py") if found.parent != tests] == []

import pytest

from tests.unit.key_vault.house import House


@pytest.fixture
def house() -> House:
    return House()

import pytest

from tests.fakes.key_vault_house import House


@pytest.fixture
def house() -> House:
    return House()

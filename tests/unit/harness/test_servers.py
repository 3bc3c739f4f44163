"""Where the tests' servers come from."""

import pytest

from tests.servers import Way, choose

pytestmark = pytest.mark.unit

ALL = {
    f"LATCHKEY_TEST_{name}": "x"
    for name in ("AMQP_URL", "MANAGEMENT_URL", "VAULT_ADDR", "VAULT_TOKEN", "POSTGRES_URL")
}


def test_addresses_in_the_environment_come_first() -> None:
    assert choose(ALL, lambda: True) is Way.ENVIRONMENT


def test_docker_comes_before_the_native_stack() -> None:
    assert choose({}, lambda: True) is Way.DOCKER
    assert choose({}, lambda: False) is Way.NATIVE


def test_a_way_can_be_forced() -> None:
    assert choose({"LATCHKEY_TEST_SERVERS": "native"}, lambda: True) is Way.NATIVE


def test_half_of_the_addresses_is_an_error_that_names_the_rest() -> None:
    with pytest.raises(ValueError, match=r"missing: LATCHKEY_TEST_POSTGRES_URL$"):
        choose({name: value for name, value in ALL.items() if "POSTGRES" not in name}, lambda: True)

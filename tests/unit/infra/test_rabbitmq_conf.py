"""The broker's configuration against the code that relies on it."""

import re

import pytest

from infra.configurations import rabbitmq_conf
from shared.contracts.message import MESSAGE_BYTES_MAX

pytestmark = pytest.mark.unit


def test_broker_and_publishers_have_one_limit_of_a_message() -> None:
    assert re.findall(r"^max_message_size = (\d+)$", rabbitmq_conf("x"), re.MULTILINE) == [
        str(MESSAGE_BYTES_MAX)
    ]

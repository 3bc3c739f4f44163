import asyncio
import json
import logging
from collections.abc import Callable, Iterator

import pytest

from shared.kernel.secret import REDACTED, SecretText
from shared.runtime.logs import bound, get_logger
from shared.runtime.redaction import redact, redact_value, redacting
from tests.logs import Log, logging_as

pytestmark = pytest.mark.unit

SHAPES = [
    "sk-proj-abcdEFGH1234",
    "sk-ant-api03-abcdEFGH1234",
    "sk-or-v1-abcdEFGH1234",
    "gsk_abcdEFGH1234",
    "AIzaSyabcdEFGH1234",
    "xai-abcdEFGH1234",
    "lk_abcdEFGH1234abcdEFGH1234",
    "hvs.abcdEFGH1234",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
]


@pytest.mark.parametrize("key", SHAPES)
def test_known_shapes_of_keys_go(key: str) -> None:
    assert redact(f"Incorrect API key provided: {key}.") == f"Incorrect API key provided: {REDACTED}."


def test_passwords_in_urls_go() -> None:
    assert redact("amqp://u:p4ss@host/v failed") == f"amqp://u:{REDACTED}@host/v failed"


def test_fields_go_by_name_and_counts_stay() -> None:
    event = {
        "api_key": "plain",
        "X-OpenAI-Key": "plain",
        "nested": [{"Authorization": "plain"}],
        "prompt_tokens": 7,
        "key_source": "user",
    }
    assert redact_value(event) == {
        "api_key": REDACTED,
        "X-OpenAI-Key": REDACTED,
        "nested": [{"Authorization": REDACTED}],
        "prompt_tokens": 7,
        "key_source": "user",
    }


@pytest.mark.parametrize("write", [str, repr, json.dumps])
def test_an_exact_value_goes_however_it_is_written(write: Callable[[str], str]) -> None:
    odd = 'canary"9\\good%41key'
    with redacting(SecretText(odd)):
        assert redact(f"failed with {write(odd)}").strip("'\"") == f"failed with {write(REDACTED)}".strip(
            "'\""
        )


async def test_an_exact_value_goes_while_in_use_in_its_own_task_only() -> None:
    odd = SecretText("no known shape")

    async def other() -> str:
        return redact("no known shape")

    outside = asyncio.create_task(other())
    with redacting(odd):
        assert redact("<no known shape>") == f"<{REDACTED}>"
        assert await asyncio.create_task(other()) == REDACTED
    assert await outside == "no known shape"
    assert redact("no known shape") == "no known shape"


@pytest.fixture
def log() -> Iterator[Log]:
    with logging_as("svc") as log:
        yield log


def test_logs_are_json_with_service_and_context(log: Log) -> None:
    with bound(run_id="r1", user_id="alice"):
        get_logger().info("run finished", key_source="user")
    (line,) = log.lines
    assert {
        "service": "svc",
        "run_id": "r1",
        "user_id": "alice",
        "key_source": "user",
    }.items() <= line.items()
    assert {"timestamp", "level", "event"} <= line.keys()


def test_exceptions_of_ours_and_of_libraries_are_redacted(log: Log) -> None:
    def fail() -> None:
        raise ValueError(f"bad key {SHAPES[0]}")

    try:
        fail()
    except ValueError:
        get_logger().exception("ours")
        logging.getLogger("openai").exception("theirs with %s", SHAPES[1])
    text = log.getvalue()
    assert text.count(REDACTED) >= 3
    assert not any(key in text for key in SHAPES)
    assert all("Traceback" in json.loads(line)["exception"] for line in text.splitlines())

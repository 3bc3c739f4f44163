"""Which key each attempt used: one shape, in the receipt and in the answer."""

import timeit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api_edge.domain.json_text import with_member
from services.api_edge.routes.key_usage import METADATA, key_usage, run_metadata, uses_of
from shared.contracts.runs import RunCompleted
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource, Outcome
from tests.fakes.api_edge_billing import billed
from tests.fakes.api_edge_worker import key_use

pytestmark = pytest.mark.unit

RUN = new_id()
FAILED = key_use(outcome=Outcome.FAILED, error_code="user_api_key_invalid")
FELL_BACK = key_use(KeySource.PLATFORM, attempt=2, credential_id="platform:openai:1")


def test_the_log_and_the_summary() -> None:
    assert key_usage((FAILED, FELL_BACK)) == {
        "apiKeyUsageLog": [
            {
                "model": "openai/gpt-4o-mini",
                "provider": "openai",
                "key_source": "user",
                "timestamp": "2026-01-01T12:00:00Z",
                "credential_id": "01939a2f-0000-7000-8000-0000000000c1",
                "outcome": "failed",
            },
            {
                "model": "openai/gpt-4o-mini",
                "provider": "openai",
                "key_source": "platform",
                "timestamp": "2026-01-01T12:00:00Z",
                "credential_id": "platform:openai:1",
                "outcome": "completed",
            },
        ],
        "apiKeyUsageSummary": {
            "total": 2,
            "by_key_source": {"user": 1, "platform": 1},
            "used_platform_key": True,
            "used_user_key": True,
        },
    }


@pytest.mark.parametrize("source", list(KeySource))
def test_a_key_is_the_users_or_the_platforms(source: KeySource) -> None:
    summary = key_usage((key_use(source),))["apiKeyUsageSummary"]
    is_platforms = source in {KeySource.PLATFORM, KeySource.TEAM_GATEWAY}
    assert (summary["used_platform_key"], summary["used_user_key"]) == (is_platforms, not is_platforms)


def test_nothing_used_is_nothing_told() -> None:
    assert key_usage(())["apiKeyUsageLog"] == []
    assert key_usage(())["apiKeyUsageSummary"]["total"] == 0


def test_the_receipt_tells_what_the_answer_told() -> None:
    """Attempts that never had a key are in neither."""
    attempts = [
        billed(RUN, source=KeySource.USER, outcome=Outcome.FAILED, error_code="user_api_key_invalid"),
        billed(RUN, attempt=2),
        billed(RUN, attempt=3, source=None, outcome=Outcome.REFUSED),
    ]
    told = (FAILED.model_copy(update={"credential_id": "platform:openai:1"}), FELL_BACK)
    assert uses_of(attempts) == told


def test_metadata_of_a_run() -> None:
    end = RunCompleted(run_id=RUN, seq=1, key_source=KeySource.PLATFORM, key_uses=(FAILED, FELL_BACK))
    assert run_metadata(RUN, end) == {
        "run_id": str(RUN),
        "key_source": "platform",
        "cost": None,
        "cost_micros": None,
        **key_usage((FAILED, FELL_BACK)),
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", '{"x":1}'),
        (" { \n} \n", '{"x":1}'),
        ('{"a":[1, 2]}', '{"a":[1, 2],"x":1}'),
        ('{"a":"}"}\n', '{"a":"}","x":1}'),
        ('{"x":{"x":2},"a":3.10}', '{"a":3.1,"x":1}'),
        ('{"a":"x"}', '{"a":"x","x":1}'),
        ('{"a":"\\"x\\""}', '{"a":"\\"x\\"","x":1}'),
        ('["x"]', '["x"]'),
        ("", ""),
        ("null", "null"),
        ('"x"', '"x"'),
    ],
)
def test_a_member_is_added(text: str, expected: str) -> None:
    assert with_member(text, "x", 1) == expected


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9) | st.just("x"), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(value=st.dictionaries(st.text(max_size=9) | st.just("x"), _json, max_size=5))
def test_any_object_gets_it_and_keeps_the_rest(value: dict[str, object]) -> None:
    text = with_member(orjson.dumps(value).decode(), "x", {"y": [1]})
    assert orjson.loads(text) == {**value, "x": {"y": [1]}}
    assert text.count('"x":{"y":[1]}') >= 1


@given(text=st.text(max_size=30))
def test_any_text_is_borne(text: str) -> None:
    with_member(text, "x", 1)
    with_member(f'{{"x"{text}}}', "x", 1)


def test_it_costs_less_than_a_tenth_of_a_millisecond() -> None:
    response = orjson.dumps({"choices": [{"message": {"content": "word " * 2_000}}]}).decode()
    end = RunCompleted(
        run_id=RUN, seq=1, key_source=KeySource.USER, response=response, key_uses=(FAILED, FELL_BACK)
    )
    times = timeit.repeat(
        lambda: with_member(response, METADATA, run_metadata(RUN, end)), number=20, repeat=20
    )
    assert min(times) / 20 < 0.000_1


def test_a_key_that_was_refused_its_attempt_was_not_used() -> None:
    poor = key_use(source=KeySource.PLATFORM, outcome=Outcome.REFUSED, error_code="insufficient_credits")
    told = key_usage((FAILED, poor))
    assert [entry["outcome"] for entry in told["apiKeyUsageLog"]] == ["failed", "refused"]
    summary = told["apiKeyUsageSummary"]
    assert (summary["total"], summary["used_platform_key"]) == (1, False)

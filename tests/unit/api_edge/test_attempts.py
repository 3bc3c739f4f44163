"""Attempts, totals and the key usage that older frontends read."""

import pytest

from services.api_edge.routes.attempts import attempt_view, key_usage_log, key_usage_summary, totals_view
from shared.kernel.ids import new_id
from shared.kernel.names import KeySource, Outcome
from tests.fakes.api_edge import billed

pytestmark = pytest.mark.unit

RUN = new_id()


def test_an_attempt_says_what_it_used_and_cost() -> None:
    assert attempt_view(billed(RUN)) == {
        "run_id": str(RUN),
        "attempt": 1,
        "flow": "chat",
        "key_source": "platform",
        "credential_id": "platform:openai:1",
        "service": None,
        "provider": "openai",
        "model": "openai/gpt-4o-mini",
        "stream": False,
        "outcome": "completed",
        "error_code": None,
        "tokens": {
            "prompt": 10,
            "completion": 5,
            "total": 15,
            "cached": 0,
            "reasoning": 0,
            "source": "measured",
        },
        "cost": "0.0015",
        "cost_micros": 1500,
        "charged": "0.0015",
        "charged_micros": 1500,
        "started_at": "2026-01-01T12:00:00Z",
        "finished_at": "2026-01-01T12:00:01Z",
        "first_token_ms": None,
    }


def test_an_unknown_price_is_null_and_so_is_the_sum() -> None:
    own = billed(RUN, source=KeySource.USER, cost_micros=None, charged_micros=0)
    assert attempt_view(own)["cost"] is None
    totals = totals_view([own, billed(RUN, attempt=2)])
    assert (totals["cost"], totals["cost_micros"]) == (None, None)
    assert (totals["charged"], totals["charged_micros"]) == ("0.0015", 1500)


def test_totals_sum_up() -> None:
    totals = totals_view([billed(RUN, charged_micros=0), billed(RUN, attempt=2)])
    assert totals["attempts"] == 2
    assert totals["tokens"] == {"prompt": 20, "completion": 10, "total": 30}
    assert (totals["cost"], totals["charged"]) == ("0.003", "0.0015")
    assert totals_view([])["cost"] == "0"


def test_the_key_usage_is_counted_by_source() -> None:
    attempts = [
        billed(RUN, source=KeySource.USER, outcome=Outcome.FAILED, error_code="user_api_key_invalid"),
        billed(RUN, attempt=2),
        billed(RUN, attempt=3, source=None, outcome=Outcome.REFUSED),
    ]
    assert key_usage_summary(attempts) == {
        "total": 2,
        "byKeySource": {"user": 1, "platform": 1},
        "usedPlatformKey": True,
        "usedUserKey": True,
    }
    assert key_usage_log(attempts)[0] == {
        "provider": "openai",
        "keySource": "user",
        "credentialId": "platform:openai:1",
        "model": "openai/gpt-4o-mini",
        "at": "2026-01-01T12:00:00Z",
        "outcome": "failed",
    }
    assert [entry["keySource"] for entry in key_usage_log(attempts)] == ["user", "platform", None]

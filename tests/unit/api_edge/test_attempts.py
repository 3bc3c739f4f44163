"""Attempts and totals."""

import pytest

from services.api_edge.routes.attempts import attempt_view, totals_view
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeySource, Unrated
from tests.fakes.api_edge_billing import billed

pytestmark = pytest.mark.unit

RUN = new_id()


def test_an_attempt_says_what_it_used_and_cost() -> None:
    plain = billed(RUN)
    measured = {"queue_ms": 1, "resolve_ms": 2, "first_token_ms": 3, "total_ms": 4}
    usage = plain.usage.model_copy(update={**measured, "provider_request_id": "req_1"})
    told = plain.model_copy(update={"usage": usage, "price_version": "prices-7"})
    assert attempt_view(told) == {
        "usage_id": str(usage.usage_id),
        "run_id": str(RUN),
        "attempt": 1,
        "flow": "chat",
        "key_source": "platform",
        "credential_id": "platform:openai:1",
        "consent_id": None,
        "would_refuse_policy": None,
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
            "cache_write": 0,
            "reasoning": 0,
            "source": "measured",
        },
        "cost": "0.0015",
        "cost_micros": 1500,
        "unrated": None,
        "price_version": "prices-7",
        "charged": "0.0015",
        "charged_micros": 1500,
        "started_at": "2026-01-01T12:00:00Z",
        "finished_at": "2026-01-01T12:00:01Z",
        **measured,
        "provider_request_id": "req_1",
    }


def test_an_unknown_price_is_null_and_so_is_the_sum() -> None:
    own = billed(RUN, source=KeySource.USER, cost_micros=None, charged_micros=0)
    own = own.model_copy(update={"unrated": Unrated.PRICE_UNKNOWN})
    assert (attempt_view(own)["cost"], attempt_view(own)["unrated"]) == (None, "price_unknown")
    totals = totals_view([own, billed(RUN, attempt=2)])
    assert (totals["cost"], totals["cost_micros"]) == (None, None)
    assert (totals["charged"], totals["charged_micros"]) == ("0.0015", 1500)


def test_totals_sum_up() -> None:
    totals = totals_view([billed(RUN, charged_micros=0), billed(RUN, attempt=2)])
    assert totals["attempts"] == 2
    assert totals["tokens"] == {
        "prompt": 20,
        "completion": 10,
        "total": 30,
        "cached": 0,
        "cache_write": 0,
        "reasoning": 0,
    }
    assert (totals["cost"], totals["charged"]) == ("0.003", "0.0015")
    assert totals_view([])["cost"] == "0"


def test_a_fallback_names_its_consent_and_what_it_would_have_been_refused_by() -> None:
    usage = billed(RUN).usage.model_copy(
        update={"consent_id": "c-1", "would_refuse_policy": KeyPolicy.USER_KEY_REQUIRED}
    )
    view = attempt_view(billed(RUN).model_copy(update={"usage": usage}))
    assert (view["consent_id"], view["would_refuse_policy"]) == ("c-1", "user_key_required")

from datetime import UTC, datetime, timedelta

import orjson
import pytest

from shared.contracts.credits import GetBalance, GrantCredits
from shared.contracts.message import Envelope, read, write
from shared.kernel.errors import InvalidRequestError
from tests.envelopes import enveloped

pytestmark = pytest.mark.unit

CANARY = "sk-canary-0123456789"


def test_an_envelope_is_a_cloud_event_of_a_versioned_type() -> None:
    event_id, body = write(GetBalance(user_id="alice"), source="api_edge", subject="s")
    event = orjson.loads(body)
    assert (event["id"], event["subject"]) == (event_id, "s")
    assert event["specversion"] == "1.0"
    assert event["type"] == "latchkey.billing.balance.v1"
    assert event["source"] == "latchkey/api_edge"
    assert event["data"] == {"user_id": "alice"}


def test_an_envelope_survives_the_wire() -> None:
    event_id, body = write(GetBalance(user_id="alice"), source="api_edge", event_id="e1")
    got = Envelope.decode(body)
    assert got.id == event_id == "e1"
    assert abs(datetime.now(UTC) - got.time) < timedelta(seconds=30)
    assert read(got, GetBalance) == GetBalance(user_id="alice")


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"{}", CANARY.encode(), b'{"specversion":"2"}'])
def test_what_is_no_cloud_event_is_refused_without_its_body(body: bytes) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        Envelope.decode(body)
    assert CANARY not in repr(refused.value)
    assert refused.value.__cause__ is None


def test_malformed_data_is_told_by_field_never_by_value() -> None:
    sent = enveloped(GetBalance(user_id="alice"), source="api_edge")
    bad = sent.model_copy(
        update={"type": GrantCredits.event_type(), "data": {"user_id": "u", "amount_micros": CANARY}}
    )
    with pytest.raises(InvalidRequestError) as refused:
        read(bad, GrantCredits)
    assert "amount_micros" in refused.value.message
    assert CANARY not in refused.value.message


def test_another_type_is_refused() -> None:
    sent = enveloped(GetBalance(user_id="alice"), source="api_edge")
    with pytest.raises(InvalidRequestError, match=r"billing\.grant\.v1"):
        read(sent, GrantCredits)

import copy
import json
import logging
import pickle
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import RFC_4122

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError

from shared.contracts.rpc import ErrorBody
from shared.kernel.errors import InternalError, PlatformError, error_class
from shared.kernel.ids import first_id_of, new_id
from shared.kernel.money import credits_to_micros, format_credits, usd_to_micros
from shared.kernel.secret import SecretText, holds_secret

pytestmark = pytest.mark.unit

CANARY = "sk-canary-0123456789abcdef"


class Holder(BaseModel):
    key: SecretText


def test_a_secret_refuses_to_print() -> None:
    secret = SecretText(CANARY)
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret, repr([secret])]  # noqa: UP031
    assert not any(CANARY in text for text in shown)
    assert repr(Holder(key=secret)).count("***") == 1


def test_a_secret_refuses_to_be_pickled_copied_or_serialised() -> None:
    secret = SecretText(CANARY)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as refused:
            attempt(secret)
        assert CANARY not in str(refused.value)
    for dump in (Holder(key=secret).model_dump, Holder(key=secret).model_dump_json):
        with pytest.raises((PydanticSerializationError, TypeError)) as refused_dump:
            dump()
        assert CANARY not in str(refused_dump.value)


def test_a_secret_reveals_only_when_asked_and_hints_at_its_ends() -> None:
    secret = Holder.model_validate({"key": CANARY}).key
    assert secret.reveal() == CANARY
    assert secret.hint() == "sk-…cdef"
    assert SecretText("short").hint() == "…"
    assert secret == SecretText(CANARY)
    assert secret != SecretText("other")


def test_ids_are_uuid7_and_sort_by_birth() -> None:
    first = new_id()
    time.sleep(0.002)
    assert first < new_id()
    assert first.version == 7


def test_an_id_tells_which_others_are_older() -> None:
    before, moment = new_id(), datetime.now(UTC) + timedelta(milliseconds=1)
    time.sleep(0.005)
    assert before < first_id_of(moment) < new_id()
    assert first_id_of(moment).version == 7
    assert first_id_of(moment).variant == RFC_4122


@given(st.integers(min_value=-(10**15), max_value=10**15))
def test_credits_survive_their_decimal_form(micros: int) -> None:
    assert credits_to_micros(format_credits(micros)) == micros


@pytest.mark.parametrize("amount", ["nan", "inf", "1e-7", "0.0000001", "five", ""])
def test_what_is_no_exact_amount_of_credits_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match="credits"):
        credits_to_micros(amount)


def test_prices_round_up_to_the_next_micro() -> None:
    assert usd_to_micros(Decimal("0.01"), credit_usd=Decimal("0.01"), markup=Decimal(1)) == 1_000_000
    assert usd_to_micros(Decimal("1e-12"), credit_usd=Decimal("0.01"), markup=Decimal("1.2")) == 1


@pytest.mark.parametrize("error", PlatformError.__subclasses__())
def test_every_error_survives_the_wire(error: type[PlatformError]) -> None:
    sent = error("why", service="billing", retry_after_s=2, detail="D")
    received = ErrorBody.model_validate_json(ErrorBody.of(sent).model_dump_json()).to_error()
    assert (type(received), vars(received)) == (error, vars(sent))


def test_codes_are_unique_and_an_unknown_code_is_an_internal_error() -> None:
    codes = [error.code for error in PlatformError.__subclasses__()]
    assert len(codes) == len(set(codes))
    assert error_class("from_the_future") is InternalError


def test_a_secret_in_a_log_record_stays_secret(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        logging.getLogger("t").info("key %s %r", SecretText(CANARY), SecretText(CANARY))
    assert CANARY not in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        CANARY,
        f"my key: {CANARY}",
        f"https://host/{CANARY}/v1",
        f"({CANARY})",
        "gsk_0123456789abc",
        "lk_" + "a" * 43,
    ],
)
def test_a_key_is_told_by_its_shape(text: str) -> None:
    assert holds_secret(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "work",
        "desk-lamp-and-others",
        "vendor/llama-3-sk-instruct-8b",
        "ft:gpt-4o-mini:org::id",
        "auth0|62ab",
    ],
)
def test_other_words_are_no_keys(text: str) -> None:
    assert not holds_secret(text)

"""Amounts of US$ in messages: plain decimals, exact, and nothing else."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from shared.contracts.prices import RateSpec

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("sent", "usd"),
    [
        ('"0.15"', "0.15"),
        ("0.15", "0.15"),
        ("3", "3"),
        ("1e-9", "0.000000001"),
        ('"0.000000001"', "0.000000001"),
        ('"1000000"', "1000000"),
        ("-0.0", "0.0"),
        ('{"usd": "2.50"}', "2.50"),
    ],
)
def test_an_amount_is_kept_and_told_to_its_last_digit(sent: str, usd: str) -> None:
    rate = RateSpec.model_validate_json(sent)
    assert rate.usd == Decimal(usd)
    assert rate.model_dump_json() == f'{{"usd":"{usd}","tiers":[]}}'


@pytest.mark.parametrize(
    "sent",
    [
        '"1e3"',
        '"1E-9"',
        '"1e999999999"',
        "1e999",
        "1e-10",
        '"0.0000000001"',
        '"1000000.1"',
        "1000001",
        "-1",
        '"-1"',
        "NaN",
        "Infinity",
        '"NaN"',
        '"Infinity"',
        '"1_0"',
        '" 1"',
        '"٣"',
        '""',
        '"five"',
        "true",
        "null",
        "[1]",
        "{}",
        '{"usd": "1e3"}',
        '{"usd": "1", "tier": []}',
        '{"usd": "1", "tiers": [{"above": 0, "usd": "2"}]}',
        '{"usd": "1", "tiers": [{"above": 1, "usd": "-2"}]}',
        pytest.param("9" * 3_000, id="thousands of digits"),
    ],
)
def test_what_is_no_plain_amount_is_refused(sent: str) -> None:
    with pytest.raises(ValidationError):
        RateSpec.model_validate_json(sent)

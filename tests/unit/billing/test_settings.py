"""What may be set."""

from decimal import Decimal

import pytest
from pydantic import ValidationError

from services.billing.settings import BillingSettings

pytestmark = pytest.mark.unit

_NEEDED = {"amqp_url": "amqp://x", "postgres_url": "postgresql://x"}


def test_a_credit_is_a_cent_and_nothing_is_put_on_top() -> None:
    settings = BillingSettings.model_validate(_NEEDED)
    assert (settings.credit_usd, settings.markup) == (Decimal("0.01"), Decimal(1))


@pytest.mark.parametrize(
    ("name", "value"),
    [("credit_usd", "0"), ("credit_usd", "-1"), ("credit_usd", "NaN"), ("markup", "-0.1"), ("markup", "x")],
)
def test_nonsense_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match=name):
        BillingSettings.model_validate(_NEEDED | {name: value})

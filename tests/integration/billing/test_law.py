"""The law of the ledger, in a real Postgres."""

import pytest

from tests.integration.billing.torn import try_to_break_postgres
from tests.realm import TestRealm

pytestmark = pytest.mark.integration


def test_the_law_holds_whatever_happens(realm: TestRealm) -> None:
    try_to_break_postgres(realm, examples=12, steps=30)

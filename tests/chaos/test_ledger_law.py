"""The law of the ledger, in a real Postgres, for as long as it takes to believe it.

`--hypothesis-seed=N` gives a run again; without one, a failure prints how to give it again.
"""

import pytest

from tests.integration.billing.torn import try_to_break_postgres
from tests.realm import TestRealm

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


def test_the_law_holds_whatever_happens(realm: TestRealm) -> None:
    try_to_break_postgres(realm, examples=400, steps=60)

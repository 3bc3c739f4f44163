"""How old what is forgotten must be at least."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from shared.kernel.ids import first_id_of


def at_least_a_day_ago(born_before: UUID) -> UUID:
    return min(born_before, first_id_of(datetime.now(UTC) - timedelta(days=1)))

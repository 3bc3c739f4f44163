"""Times as arguments."""

import argparse
from datetime import UTC, datetime


def time_argument(text: str) -> datetime:
    """Read RFC 3339; UTC where no zone is given. Raises argparse.ArgumentTypeError."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no time like 2026-08-01T12:00:00Z") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)

"""How fast a restored database is brought up to the usage stream."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from infra.bootstrap import Servers
from shared.contracts.credits import CreditsGranted
from shared.contracts.usage import UsageRecorded
from shared.kernel.ids import new_id
from shared.kernel.names import BILLING, INFERENCE, KeySource
from tests.fakes.billing import usage_event
from tests.integration.infra.recovery import recovered_of
from tests.realm import temporary_realm
from tests.stream_filler import fill, told
from tests.usage_history import charge_of

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]

_EVENTS: Final = 50_000
_USERS: Final = 10_000
_CREDITS: Final = 10**9


async def test_recovery(servers: Servers, tmp_path: Path) -> None:
    async with temporary_realm(servers, tmp_path) as realm:
        events = list(_history())
        grants = [_grant(f"user-{number}") for number in range(_USERS)]
        charges = [charge_of(event) for event in events if event.key_source is KeySource.PLATFORM]
        await fill(realm, BILLING, map(told, grants))
        await fill(realm, INFERENCE, map(told, events))
        await fill(realm, BILLING, map(told, charges))
        began = time.perf_counter()
        recovered = await recovered_of(realm)
        seconds = time.perf_counter() - began
    assert recovered.posted.usage == _EVENTS
    rate = recovered.messages / seconds
    sys.stdout.write(f"\n{recovered.messages:,} messages recovered in {seconds:.1f} s, {rate:,.0f}/s\n")


def _history() -> Iterator[UsageRecorded]:
    """Every other one on the platform's key."""
    now = datetime.now(UTC)
    times = {"requested_at": now, "started_at": now, "finished_at": now}
    for number in range(_EVENTS):
        source = KeySource.PLATFORM if number % 2 else KeySource.USER
        who = f"user-{number % _USERS}"
        yield usage_event(user_id=who, cost_micros=450, price_version="v1", key_source=source, **times)


def _grant(user: str) -> CreditsGranted:
    return CreditsGranted(transfer_id=new_id(), user_id=user, amount_micros=_CREDITS, granted_by="root")

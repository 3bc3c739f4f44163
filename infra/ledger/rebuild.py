"""Every balance and charge, rebuilt from the usage stream and compared with the tables."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from infra.event_stream import FIRST
from infra.ledger import sql
from infra.ledger.checkpoints import begin, keep
from infra.ledger.differences import Difference
from infra.ledger.events import is_foreign
from infra.ledger.replay import Replay, Stream
from infra.ledger.scratch import Scratch, scratch_tables
from infra.ledger.snapshot import take_snapshot


@dataclass(frozen=True)
class Rebuilt:
    """What was compared: events of the offsets from `start` to before `end`.

    `checkpoint` is the offset up to which a later check may take this one's word.
    """

    usage: int
    transfers: int
    balances: int
    start: int
    end: int
    differences: int
    checkpoint: int | None


async def rebuild(
    postgres_url: str,
    stream: Stream,
    *,
    realm: str,
    wait_s: float,
    report: Callable[[Difference], None],
    accept: bool = False,
) -> Rebuilt:
    """Compare, with the administrator's URL; report every difference by id.

    `wait_s`: how long what is under way between tables and stream may take. Without a difference, or when
    they are accepted, a checkpoint is made. Raises CannotTellError; OSError or asyncpg.PostgresError when
    either is away.
    """
    async with scratch_tables(postgres_url) as scratch:
        await take_snapshot(postgres_url, scratch.database)
        first, end = await asyncio.gather(stream.find(FIRST), stream.end())
        start = await begin(scratch, first, end, accept=accept)
        replay = Replay(stream, scratch, realm, start)
        await replay.run(end, wait_s)
        await scratch.compare()
        found, about_ledger = await _report(scratch, report)
        is_kept = accept or not about_ledger
        checkpoint = await keep(scratch, first, replay.reached, accept=accept) if is_kept else None
        counts = await scratch.database.fetchrow(sql.COUNTS)
    return Rebuilt(
        **dict(counts or {}), start=start, end=replay.reached, differences=found, checkpoint=checkpoint
    )


async def _report(scratch: Scratch, report: Callable[[Difference], None]) -> tuple[int, int]:
    """Return how many there are, and how many of them are about the ledger."""
    found = about_ledger = 0
    async for difference in scratch.differences():
        report(difference)
        found += 1
        about_ledger += not is_foreign(difference)
    return found, about_ledger

"""Where a replay begins, and where a later one may."""

from infra.ledger import sql
from infra.ledger.errors import CannotTellError
from infra.ledger.scratch import Scratch


async def begin(scratch: Scratch, first: int, end: int, *, accept: bool) -> int:
    """Return the offset to read from, and take what the ledger was before it as the base.

    `first` and `end` are the stream's. Raises CannotTellError when its start is gone and nothing stands for
    it, unless that is accepted.
    """
    found = await scratch.database.fetchrow(sql.FIND_CHECKPOINT, first, end - 1)
    if found is not None:
        await scratch.database.execute(sql.BEGIN_AT_CHECKPOINT, found["id"])
        return int(found["stream_offset"]) + 1
    if first == 0:
        return 0
    if not accept:
        raise CannotTellError(
            f"the stream begins at offset {first}, and no checkpoint reaches up to there: nothing is known "
            "of what came before (--accept takes the tables as they are, as the base of later checks)"
        )
    await scratch.database.execute(sql.BEGIN_AT_TABLES)
    return first


async def keep(scratch: Scratch, first: int, reached: int, *, accept: bool) -> int | None:
    """Make a checkpoint of what was compared; return its offset, None when the stream tells too little.

    One that is `accept`ed counts also when nothing was told: -1. Those outside the stream, which begins at
    `first`, are forgotten.
    """
    covered = await scratch.database.fetchval(sql.COVERED_OFFSET)
    offset = reached - 1 if covered is None else int(covered)
    if offset < 0 and not accept:
        return None
    async with scratch.database.transaction():
        await scratch.database.execute(sql.MAKE_CHECKPOINT, offset, accept)
        await scratch.database.execute(sql.FORGET_CHECKPOINTS, first, reached - 1)
    return offset

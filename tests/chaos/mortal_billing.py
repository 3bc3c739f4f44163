"""A billing that ends between commit and acknowledgement. `python -m tests.chaos.mortal_billing`

Each life of it ends at its first batch with something new in it, while a file `armed` lies in the folder.
"""

import os
import secrets
import signal
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from services.billing.adapters.postgres_ledger import PostgresLedgerStore
from services.billing.app import main
from services.billing.domain.hold import Admission, Hold
from services.billing.ports import Entry, LedgerStore, Settle, Usage
from shared.runtime.postgres import Pool
from shared.runtime.process import run
from tests.chaos.fuses import FOLDER, Fuses

ARMED: Final = "armed"
COMMITTED: Final = "committed"


class MortalLedgerStore:
    def __init__(self, inner: LedgerStore, folder: Path) -> None:
        self._inner = inner
        self._folder = folder

    async def authorize(self, holds: Sequence[Hold]) -> list[Admission]:
        return await self._inner.authorize(holds)

    async def record(self, usages: Sequence[Usage], settle: Settle) -> list[Entry]:
        entries = await self._inner.record(usages, settle)
        if entries and (self._folder / ARMED).exists():
            Fuses(self._folder).burn(f"{COMMITTED}.{secrets.token_hex(8)}")
            os.kill(os.getpid(), signal.SIGKILL)
        return entries

    async def expire_holds(self, now: datetime) -> int:
        return await self._inner.expire_holds(now)


def mortal(folder: Path, pool: Pool) -> LedgerStore:
    return MortalLedgerStore(PostgresLedgerStore(pool), folder)


if __name__ == "__main__":
    run(partial(main, partial(mortal, Path(os.environ[FOLDER]))))

"""Everything that was charged, by whoever's runs and on whichever keys, is what the usage stream tells."""

import asyncio
import secrets
from typing import Final

import pytest

from tests.acceptance.callers import MODEL
from tests.acceptance.commands import latchkey
from tests.acceptance.house import House
from tests.quiet import quiet_check

pytestmark = pytest.mark.acceptance

GRANT: Final = 1_000_000


async def test_the_stream_rebuilds_every_balance_and_charge(house: House) -> None:
    payer, owner = await house.caller("payer"), await house.caller("owner")
    await house.grant(payer, GRANT)
    await owner.store_key(f"sk-sim-{secrets.token_hex(12)}")
    answers = await asyncio.gather(
        *(payer.ask(f"paid {number}", flow="deep_analysis", max_tokens=40) for number in range(10)),
        *(owner.ask(f"own {number}", model=MODEL) for number in range(10)),
        payer.ask("[simulate status=500] paid for nothing", flow="deep_analysis", max_tokens=40),
        owner.ask("refused", flow="deep_analysis"),
        payer.ask("strict", flow="solver"),
    )
    assert [answer.status_code for answer in answers[:20]] == [200] * 20
    assert [answer.is_success for answer in answers[20:]] == [False] * 3

    rebuilt = await quiet_check(house.realm)
    assert rebuilt.usage >= 22
    code, told = await latchkey(house, "ledger", "verify")
    assert (code, "it adds up" in told) == (0, True), told
    code, told = await latchkey(house, "ledger", "rebuild", "--check")
    assert (code, "the same as the tables" in told) == (0, True), told

    change = (
        "UPDATE billing.accounts SET posted_micros = posted_micros + $2 WHERE kind = 'user' AND user_id = $1"
    )
    await house.rows(change, payer.user_id, 1)
    code, told = await latchkey(house, "ledger", "rebuild", "--check", "--wait", "0")
    await house.rows(change, payer.user_id, -1)
    assert (code, f"a balance differs: account user of {payer.user_id}" in told) == (1, True), told
    with pytest.raises(AssertionError, match=r"0 messages in billing\.usage\.dlq, not 1"):
        await quiet_check(house.realm, dead_letters={"billing.usage": 1}, patience_s=0.5)

"""Where bad inputs are sent to: a running house with a user who has something to lose, and another one."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from infra.bootstrap import Realm
from infra.bootstrap.tokens import mint_token, revoke_token
from shared.kernel.names import API_EDGE
from tests.acceptance.bad_inputs import idempotency as used
from tests.acceptance.bad_inputs.case import ASKED, Case
from tests.acceptance.bad_inputs.forgery import bad_tokens
from tests.acceptance.bad_inputs.sending import Answer, send
from tests.acceptance.callers import Caller
from tests.acceptance.house import House, eventually
from tests.quiet import dead_letters

SONG: Final = "sk-badinput-"
"""How every key begins that is sent in a bad input."""
_MICROS: Final = 10_000_000
_OWN: Final = ("/api/keys", "/api/credits", "/api/user-settings", "/api/models/pinned", "/api/model-settings")
_ADMINS: Final = ("/api/admin/prices", "/api/admin/platform-keys", "/system/nodes")
_KEPT: Final = """
SELECT (SELECT count(*) FROM edge.councils) AS councils,
    (SELECT count(*) FROM edge.preferences) AS preferences,
    (SELECT count(*) FROM billing.transfers) AS transfers,
    (SELECT count(*) FROM key_vault.credentials) AS keys
"""
_UNDER_WAY: Final = """
SELECT (SELECT count(*) FROM edge.runs WHERE user_id = $1 AND kept AND outcome IS NULL)
    + (SELECT count(*) FROM inference.attempts WHERE user_id = $1 AND outcome IS NULL)
    + (SELECT count(*) FROM edge.councils WHERE user_id = $1 AND question IS NOT NULL)
    + (SELECT count(*) FROM billing.holds WHERE user_id = $1 AND state = 'held')
"""


@dataclass
class Stand:
    """`values`: what the names in a case stand for. `before`: what was kept when all began."""

    house: House
    user: Caller
    admin: Caller
    values: Mapping[str, str] = field(repr=False)
    before: Mapping[str, Any] = field(default_factory=dict)

    async def send(self, case: Case) -> tuple[Answer, str]:
        """Return the answer, and the canary that was sent."""
        canary = SONG + secrets.token_hex(16)
        return await send(self.house.url, case, {**self.values, "canary": canary}), canary

    async def check_whole(self) -> None:
        """What users do still works; nothing is under way, nothing was kept, changed or dead-lettered."""
        (await self.user.ask("as ever")).raise_for_status()
        await eventually(self._is_quiet, "nothing is under way any more")
        assert await self.kept() == self.before

    async def kept(self) -> dict[str, Any]:
        told = {path: await self.user.get(path) for path in _OWN}
        told |= {path: await self.admin.get(path) for path in _ADMINS}
        for key in told["/api/keys"]["items"]:
            key.pop("last_used_at")
        counts: list[asyncpg.Record] = await self.house.rows(_KEPT)
        return {**told, **counts[0], "dead letters": await dead_letters(self.house.realm)}

    async def _is_quiet(self) -> bool:
        rows: list[asyncpg.Record] = await self.house.rows(_UNDER_WAY, self.user.user_id)
        return int(rows[0][0]) == 0


async def make_stand(house: House) -> Stand:
    user, foreign, admin = await asyncio.gather(
        house.caller("user"), house.caller("foreign"), house.caller("admin", "admin")
    )
    granted = f"granted-{secrets.token_hex(4)}"
    own, others, revoked, _ = await asyncio.gather(
        _belongings(house, user), _belongings(house, foreign), _revoked(house), _moved(user, admin, granted)
    )
    secret = house.realm.env(API_EDGE)["LATCHKEY_AUTH__JWT_SECRET"]
    values = {
        "user": user.token,
        "admin": admin.token,
        **{f"own_{name}": value for name, value in own.items()},
        **{f"foreign_{name}": value for name, value in others.items()},
        "foreign_user": foreign.user_id,
        "cut_session": own["session"][:-20],
        "granted": granted,
        "refused": f"{SONG}bad-{secrets.token_hex(16)}",
        "revoked": revoked,
        **bad_tokens(secret, house.realm.name),
    }
    stand = Stand(house, user, admin, values)
    stand.before = await stand.kept()
    return stand


async def _belongings(house: House, caller: Caller) -> dict[str, str]:
    """A key, a session key, a run and a council that are over, each begun with an idempotency key."""
    key = await caller.store_key(f"sk-sim-{secrets.token_hex(8)}")
    entered = {"service": "openai", "api_key": f"sk-sim-{secrets.token_hex(8)}", "persist": "session"}
    session = await _posted(caller, "/api/keys", entered)
    run = await _posted(caller, "/api/runs", ASKED, used.RUN_KEY)
    council = await _posted(caller, "/api/councils", used.COUNCIL, used.COUNCIL_KEY)
    for path in (f"/api/runs/{run['run_id']}", f"/api/councils/{council['council_id']}"):
        await over(caller, path)
    await house.receipt(caller, run["run_id"])
    told = {"run": run["run_id"], "council": council["council_id"], "session": session["session_key"]}
    return {"key": key, **told}


async def over(caller: Caller, path: str) -> None:
    async def is_over() -> bool:
        return bool((await caller.get(path))["status"] == "completed")

    await eventually(is_over, f"{path} is over")


async def _moved(user: Caller, admin: Caller, granted: str) -> None:
    """Credits that were given, corrected and taken, each with an idempotency key."""
    give = {"user_id": user.user_id, "credits": _MICROS // 1_000_000, "idempotency_key": user.user_id}
    grant = {**used.GRANT, "user_id": granted, "idempotency_key": granted}
    await _posted(admin, "/api/admin/credits/grants", give)
    await _posted(user, "/api/user/deduct-credits", used.FEATURE)
    await _posted(admin, "/api/admin/credits/grants", grant)
    await _posted(admin, "/api/admin/credits/adjustments", {**used.ADJUSTMENT, **grant})


async def _revoked(house: House) -> str:
    url, realm = house.realm.admin["LATCHKEY_POSTGRES_URL"], Realm(house.realm.name)
    token = await asyncio.to_thread(mint_token, url, realm, "mallory", "admin")
    await asyncio.to_thread(revoke_token, url, token)
    return token


async def _posted(caller: Caller, path: str, body: object, idempotency_key: str | None = None) -> Any:
    headers = {} if idempotency_key is None else {"Idempotency-Key": idempotency_key}
    return (await caller.http.post(path, json=body, headers=headers)).raise_for_status().json()

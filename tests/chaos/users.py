"""Who asks during the experiments: with a key of their own or on credits, plain or streamed."""

import secrets
import time
from dataclasses import dataclass
from typing import Any, Final

import orjson

from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import House

ANSWER_S: Final = 60.0
"""Beyond every deadline that a run can meet: nobody may wait longer."""
GRANT: Final = 1_000_000_000
OK: Final = "ok"
OWN, PAID = "chat", "deep_analysis"


@dataclass(frozen=True, slots=True)
class Asked:
    """One run as its client saw it. `code`: of the error that it ended with, or `ok`."""

    prompt: str
    run_id: str
    code: str


@dataclass(frozen=True)
class User:
    """`flow` says whose key serves them."""

    caller: Caller
    flow: str

    async def ask(self, prompt: str, *, stream: bool = False) -> Asked:
        """One run. Raises AssertionError when it has no answer in time, or one that nobody meant."""
        began = time.monotonic()
        asked = await (self._stream(prompt) if stream else self._plain(prompt))
        waited_s = time.monotonic() - began
        assert waited_s < ANSWER_S, f"{asked} after {waited_s:.0f} s"
        assert asked.code not in {"internal_error", "cut"}, asked
        return asked

    async def _plain(self, prompt: str) -> Asked:
        answer = await self.caller.http.post("/v1/chat/completions", **self._request(prompt))
        code = OK if answer.is_success else str(answer.json()["error"]["code"])
        return Asked(prompt, answer.headers["latchkey-run-id"], code)

    async def _stream(self, prompt: str) -> Asked:
        request = self._request(prompt, stream=True)
        async with self.caller.http.stream("POST", "/v1/chat/completions", **request) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        last = lines[-1].removeprefix("data: ") if lines else ""
        return Asked(prompt, answer.headers["latchkey-run-id"], _end_of(last))

    def _request(self, prompt: str, **body: Any) -> dict[str, Any]:
        message = {"role": "user", "content": prompt}
        return {
            "json": {"model": MODEL, "messages": [message], "max_tokens": 50, **body},
            "headers": {"Latchkey-Flow": self.flow},
        }


def _end_of(last: str) -> str:
    """Return how a stream ended: by its last word."""
    if last == "[DONE]":
        return OK
    try:
        return str(orjson.loads(last)["error"]["code"])
    except (orjson.JSONDecodeError, KeyError):
        return "cut"


async def an_owner(house: House) -> User:
    """Has a key of their own, and credits that nothing may touch."""
    caller = await house.caller("owner")
    await caller.store_key(f"sk-sim-own-{secrets.token_hex(8)}")
    await house.grant(caller, GRANT)
    return User(caller, OWN)


async def a_payer(house: House, micros: int = GRANT) -> User:
    caller = await house.caller("payer")
    await house.grant(caller, micros)
    return User(caller, PAID)

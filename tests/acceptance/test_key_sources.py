"""Which key a run uses, through the whole house: who has what, what fails, what was allowed.

The witness is the provider: it counts the calls of every key. What is expected is worked out here anew, from
the order of the keys and the rules of consent, without the engine's code.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final

import httpx2
import pytest
import pytest_asyncio

from shared.kernel.names import KeyService
from tests.acceptance.callers import MODEL, Caller
from tests.acceptance.house import PLATFORM_KEY, House, put_platform_key
from tests.acceptance.worker import PUBLIC

pytestmark = pytest.mark.acceptance

GATEWAY_URL: Final = f"https://gateway{PUBLIC}/v1"
GRANT: Final = 1_000_000_000
REPORTED: Final = "playground"
"""Made a strict flow that is only reported on, for these tests."""

OWN: Final = ("request", "request_openrouter", "session", "user_gateway", "user", "user_openrouter")
PLATFORM: Final = ("platform", "platform_openrouter", "team_gateway")
ORDER: Final = (*OWN, *PLATFORM)
_SERVICES: Final = {
    "request": KeyService.OPENAI,
    "request_openrouter": KeyService.OPENROUTER,
    "session": KeyService.OPENAI,
    "user_gateway": KeyService.GATEWAY,
    "user": KeyService.OPENAI,
    "user_openrouter": KeyService.OPENROUTER,
    "platform": KeyService.OPENAI,
    "platform_openrouter": KeyService.OPENROUTER,
    "team_gateway": KeyService.GATEWAY,
}
_SOURCES: Final = {
    "request_openrouter": "request",
    "user_openrouter": "user",
    "platform_openrouter": "platform",
}
_HEADERS: Final = {"request": "X-OpenAI-Key", "request_openrouter": "X-OpenRouter-Key"}


@dataclass(frozen=True)
class Case:
    """`have`: the keys there are, in order; the first `broken` of them are refused by the provider."""

    flow: str
    have: tuple[str, ...]
    broken: int = 0
    platform_ok: bool = True
    gateway_ok: bool = True
    marker: str = field(default_factory=lambda: secrets.token_hex(8))

    def key(self, way: str) -> str:
        kind = "revoked-" if way in self.have[: self.broken] else "sound-"
        return f"sk-{kind}{way.replace('_', '-')}-{self.marker}"

    def __str__(self) -> str:
        consent = f"{'P' if self.platform_ok else '-'}{'G' if self.gateway_ok else '-'}"
        return f"{self.flow} {consent} {'+'.join(self.have) or 'nothing'} broken={self.broken}"

    # -- what is to happen ---------------------------------------------------------------------------------

    def allowed(self) -> tuple[str, ...]:
        """The ways that this flow and this consent leave open, in order."""
        if self.flow == "deep_analysis":
            return PLATFORM
        if self.flow == "solver":
            return OWN
        closed = {way for way in PLATFORM if not (self.gateway_ok if "team" in way else self.platform_ok)}
        return tuple(way for way in ORDER if way not in closed)

    def tried(self) -> list[str]:
        """The ways whose keys are called, the last one with success unless all are refused."""
        left = [way for way in self.allowed() if way in self.have]
        broken = [way for way in left if way in self.have[: self.broken]]
        sound = [way for way in left if way not in broken]
        return [way for way in left if not sound or left.index(way) <= left.index(sound[0])]

    def is_served(self) -> bool:
        return any(way not in self.have[: self.broken] for way in self.tried())

    def refusal(self) -> tuple[int, str]:
        tried = self.tried()
        if tried and tried[0] in OWN:
            return 403, "user_api_key_invalid"
        if self.flow == "solver":
            return 403, "user_api_key_required"
        if self.flow == "deep_analysis" or tried:
            return 503, "system_key_exhausted"
        if not self.platform_ok or (not self.gateway_ok and "team_gateway" in self.have):
            return 403, "consent_required"
        return 403, "user_api_key_required"


def cases() -> Iterator[Case]:
    for flow, some_broken in (("chat", range(10)), ("solver", range(7)), (REPORTED, (0, 5, 6, 7, 9))):
        yield from (Case(flow, ORDER, broken) for broken in some_broken)
    for broken in (0, 5, 6, 7):
        yield Case("chat", ORDER, broken, platform_ok=False)
        yield Case("chat", ORDER, broken, gateway_ok=False)
        yield Case("chat", ORDER, broken, platform_ok=False, gateway_ok=False)
        yield Case(REPORTED, ORDER, broken, platform_ok=False, gateway_ok=False)
    for way in (*ORDER, ""):
        for flow in ("chat", "solver", "deep_analysis"):
            yield Case(flow, (way,) if way else ())
    for broken in range(4):
        yield Case("deep_analysis", PLATFORM, broken)
    for platform_ok, gateway_ok in ((True, False), (False, True), (False, False)):
        yield Case("chat", (), platform_ok=platform_ok, gateway_ok=gateway_ok)
        yield Case("chat", ("team_gateway",), platform_ok=platform_ok, gateway_ok=gateway_ok)


CASES: Final = tuple(cases())


def platform_of(case: Case) -> tuple[tuple[str, str], ...]:
    """The platform keys a case needs, by way; sound ones are shared between cases."""
    return tuple(
        (way, case.key(way) if "revoked" in case.key(way) else f"sk-sound-{way.replace('_', '-')}-shared")
        for way in PLATFORM
        if way in case.have
    )


def key_of(case: Case, way: str) -> str:
    return dict(platform_of(case)).get(way) or case.key(way)


@pytest_asyncio.fixture
async def strict_but_reported(house: House) -> AsyncIterator[House]:
    """A house whose flow `REPORTED` is strict, and only reported on; whole again afterwards."""
    admin = await house.caller("admin", "admin")
    path = f"/system/nodes/{REPORTED}"
    before = {"key_policy": "user_key_preferred", "report_only": False}
    strict = {"key_policy": "user_key_required", "report_only": True}
    (await admin.http.patch(path, json=strict)).raise_for_status()
    yield house
    (await admin.http.patch(path, json=before)).raise_for_status()
    await put_platform_keys(house, {"platform": PLATFORM_KEY})


async def test_every_combination_uses_the_keys_it_should_and_no_other(strict_but_reported: House) -> None:
    house = strict_but_reported
    assert len(CASES) >= 60
    wrong: list[str] = []
    for keys, group in groupby(sorted(CASES, key=platform_of), platform_of):
        await put_platform_keys(house, dict(keys))
        wrong += [
            fault for faults in await asyncio.gather(*(play(house, c) for c in group)) for fault in faults
        ]
    assert wrong == []


async def play(house: House, case: Case) -> list[str]:
    """Play one case with a user of its own; return what went wrong."""
    caller = await house.caller("combo")
    await house.grant(caller, GRANT)
    headers = await furnish(caller, case)
    answer = await ask(caller, case, headers)
    return [f"{case}: {fault}" for fault in await faults_of(house, caller, case, answer)]


async def furnish(caller: Caller, case: Case) -> dict[str, str]:
    """Give the user their keys and their consent; return the headers of the run."""
    consent = {"allowPlatformFallback": case.platform_ok, "allowGatewayFallback": case.gateway_ok}
    (await caller.http.post("/api/user-settings", json=consent)).raise_for_status()
    headers = {"Latchkey-Flow": case.flow}
    for way in (way for way in OWN if way in case.have):
        key, service = case.key(way), _SERVICES[way]
        if way in _HEADERS:
            headers[_HEADERS[way]] = key
            continue
        body = {"service": service, "api_key": key} | ({"baseUrl": GATEWAY_URL} if "gateway" in way else {})
        body |= {"persist": "session"} if way == "session" else {}
        kept = (await caller.http.post("/api/keys", json=body)).raise_for_status().json()
        if way == "session":
            headers["X-Provider-Key"] = kept["session_key"]
    return headers


async def ask(caller: Caller, case: Case, headers: dict[str, str]) -> httpx2.Response:
    message = {"role": "user", "content": f"combination {case.marker}"}
    body = {"model": MODEL, "messages": [message], "max_tokens": 20}
    return await caller.http.post("/v1/chat/completions", json=body, headers=headers)


async def faults_of(house: House, caller: Caller, case: Case, answer: httpx2.Response) -> list[str]:
    faults = []
    served, tried = case.is_served(), case.tried()
    if served and answer.status_code != httpx2.codes.OK:
        return [f"refused: {answer.text}"]
    if not served and (found := (answer.status_code, answer.json()["error"]["code"])) != case.refusal():
        faults.append(f"answered {found}, not {case.refusal()}")
    sources = [_SOURCES.get(way, way) for way in tried]
    if served and answer.headers["latchkey-key-source"] != sources[-1]:
        faults.append(f"served by {answer.headers['latchkey-key-source']}, not {sources[-1]}")
    if (told := house.calls().by_prompt.get(f"combination {case.marker}", 0)) != len(tried):
        faults.append(f"the provider was called {told} times, not {len(tried)}")
    return faults + await receipt_faults(house, caller, case, answer, sources)


async def receipt_faults(
    house: House, caller: Caller, case: Case, answer: httpx2.Response, sources: list[str]
) -> list[str]:
    """What the receipt tells is what the provider saw, and only the platform's key was charged."""
    receipt = await house.receipt(caller, answer.headers["latchkey-run-id"], attempts=max(1, len(sources)))
    faults = []
    told = [entry["key_source"] for entry in receipt["apiKeyUsageLog"] if entry["key_source"]]
    if told != sources:
        faults.append(f"the receipt tells of {told}, not {sources}")
    if case.is_served() and answer.json()["latchkey"]["apiKeyUsageLog"] != receipt["apiKeyUsageLog"]:
        faults.append("the answer and the receipt tell of different keys")
    served_by_platform = case.is_served() and case.tried()[-1] in PLATFORM
    if (receipt["totals"]["charged_micros"] > 0) != served_by_platform:
        faults.append(f"charged {receipt['totals']['charged_micros']} micros")
    for attempt in receipt["attempts"]:
        by_platform = attempt["key_source"] in {"platform", "team_gateway"}
        falls_back = by_platform and case.flow != "deep_analysis"
        if bool(attempt["consent_id"]) != falls_back:
            faults.append(f"an attempt on {attempt['key_source']} names the consent {attempt['consent_id']}")
        reported = "user_key_required" if by_platform and case.flow == REPORTED else None
        if attempt["would_refuse_policy"] != reported:
            faults.append(f"an attempt would be refused by {attempt['would_refuse_policy']}, not {reported}")
    return faults


async def put_platform_keys(house: House, keys: dict[str, str]) -> None:
    for way in PLATFORM:
        await put_platform_key(house.realm, _SERVICES[way], *filter(None, [keys.get(way)]))

"""What a user and the platform may have, for the tests of the order of keys. The runs' provider is OpenAI."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from uuid import UUID

from services.key_vault.domain.ask import Ask, Sent
from services.key_vault.domain.choice import Choice, Known, LookForOwn, Own, choose
from services.key_vault.domain.credentials import Consent, OwnKeys, Place, StoredCredential
from services.key_vault.domain.fallback import Lent, LookInPool
from services.key_vault.domain.platform import PlatformKey, PlatformMark, PoolState, platform_key
from shared.kernel.key_order import own_services, own_source, platform_source
from shared.kernel.names import KeyPolicy, KeyService, KeySource, PlatformKeyState
from shared.kernel.secret import SecretText

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BACK_IN_S = 40.0

SENT_KEYS = ("request", "session")
STORED = ("user_gateway", "user", "user_openrouter")
OWN = SENT_KEYS + STORED
PLATFORM = ("platform", "platform_openrouter", "team_gateway")
ORDER = OWN + PLATFORM
SERVICES = {
    "user_gateway": KeyService.GATEWAY,
    "user": KeyService.OPENAI,
    "user_openrouter": KeyService.OPENROUTER,
    "platform": KeyService.OPENAI,
    "platform_openrouter": KeyService.OPENROUTER,
    "team_gateway": KeyService.GATEWAY,
}
THERE, FAILED, COOLING, OUT = "there", "failed", "cooling", "out"

States = Mapping[str, str]
"""How a key stands, by its name in `ORDER`; one that is not named does not exist."""


def stored(name: str) -> StoredCredential:
    place = Place("ada", UUID(int=ORDER.index(name)), SERVICES[name], None)
    return StoredCredential(place, "vault:v1:AAAA", "…", None, NOON)


def lent(name: str, state: str = THERE) -> PlatformKey:
    service = SERVICES[name]
    key = platform_key(service, SecretText(f"sk-{name}"))
    if state not in {COOLING, OUT}:
        return key
    until = NOON + timedelta(seconds=BACK_IN_S) if state == COOLING else None
    kind = PlatformKeyState(state)
    mark = PlatformMark(key.credential_id, service, kind, until, "provider_rate_limited", NOON)
    return platform_key(service, key.key, mark)


_STORED = {name: stored(name) for name in STORED}
_POOLS = {
    (name, state): PoolState((lent(name, state),) if state else ())
    for name in PLATFORM
    for state in ("", THERE, FAILED, COOLING, OUT)
}
IDS = {
    **{name: name for name in SENT_KEYS},
    **{name: credential.credential_id for name, credential in _STORED.items()},
    **{name: lent(name).credential_id for name in PLATFORM},
}
_NAMES = {credential_id: name for name, credential_id in IDS.items()}


@dataclass(frozen=True)
class World:
    """All that the engine may be told, and what it asked for."""

    policy: KeyPolicy
    report_only: bool
    consent: Consent
    states: States
    looked: list[str] = field(default_factory=list)

    @cached_property
    def ask(self) -> Ask:
        return Ask(
            self.policy,
            KeyService.OPENAI,
            NOON,
            report_only=self.report_only,
            sent=tuple(Sent(KeySource(name)) for name in SENT_KEYS if name in self.states),
            excluding={IDS[name] for name, state in self.states.items() if state == FAILED},
        )

    @cached_property
    def own(self) -> OwnKeys:
        return OwnKeys(tuple(_STORED[name] for name in STORED if name in self.states), self.consent)

    @cached_property
    def pools(self) -> dict[KeyService, PoolState]:
        return {SERVICES[name]: _POOLS[name, self.states.get(name, "")] for name in PLATFORM}

    def choose_at_once(self) -> Choice:
        """Knowing everything beforehand. Raises the refusal."""
        choice = choose(self.ask, Known(self.own, self.pools))
        assert not isinstance(choice, LookForOwn | LookInPool)
        return choice

    def choose(self) -> Choice:
        """Looking where the engine wants to; keeps where it looked. Raises the refusal."""
        return look(self.ask, self.own, self.pools, self.looked)


def look(ask: Ask, own: OwnKeys, pools: Mapping[KeyService, PoolState], looked: list[str]) -> Choice:
    known = Known()
    while True:
        step = choose(ask, known)
        if isinstance(step, LookForOwn):
            looked.append("own")
            services = own_services(ask.provider)
            asked = tuple(one for one in own.credentials if one.place.service in services)
            known = Known(OwnKeys(asked, own.consent), known.pools)
        elif isinstance(step, LookInPool):
            looked.append(step.service)
            known = Known(known.own, {**known.pools, step.service: pools.get(step.service, PoolState())})
        else:
            return step


def source_of(choice: Choice) -> KeySource:
    match choice:
        case Sent(source):
            return source
        case Own(credential):
            return own_source(credential.place.service)
        case Lent():
            return platform_source(choice.key.service)


def name_of(choice: Choice) -> str:
    match choice:
        case Sent(source):
            return source
        case Own(credential):
            return _NAMES[credential.credential_id]
        case Lent():
            return _NAMES[choice.key.credential_id]

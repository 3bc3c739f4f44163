"""What turns the memory off and on, and whose word makes it forget."""

import asyncio
from collections.abc import Callable
from uuid import UUID

import pytest

from services.key_vault.adapters.memory import KeyMemory
from services.key_vault.adapters.memory_watch import MemoryWatch
from services.key_vault.domain.credentials import DEFAULT_CONSENT, OwnKeys
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.message import Message
from shared.kernel.errors import BusUnavailableError, ForbiddenError
from shared.kernel.ids import new_id
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, CredentialStatus, KeyService
from shared.runtime.delivery import Delivery
from tests.envelopes import event_body

pytestmark = pytest.mark.unit


class World:
    """Vault and bus as the watch sees them."""

    def __init__(self) -> None:
        self.is_open = True
        self.hangs = False
        self.looked = 0
        self.is_told: bool | Exception = True
        self.memory = KeyMemory()
        self.watch = MemoryWatch(self.memory, vault_is_open=self._vault, hears=self._hears)
        self.meanwhile: Callable[[], None] | None = None

    async def _vault(self) -> bool:
        self.looked += 1
        if self.hangs:
            await asyncio.sleep(60)
        return self.is_open

    async def _hears(self) -> bool:
        if self.meanwhile is not None:
            self.meanwhile()
        if isinstance(self.is_told, Exception):
            raise self.is_told
        return self.is_told

    def learn(self, *users: str) -> None:
        for user in users:
            self.memory.remember(self.memory.begin(user), OwnKeys((), DEFAULT_CONSENT))

    def knows(self, user: str) -> bool:
        return self.memory.own(user) is not None


@pytest.fixture
async def world() -> World:
    world = World()
    await world.watch.look()
    assert world.memory.is_on
    world.learn("ada", "bob")
    return world


async def test_a_sealed_vault_turns_it_off_until_it_is_open_again(world: World) -> None:
    world.is_open = False
    await world.watch.look()
    world.learn("ada")
    assert (world.memory.is_on, len(world.memory)) == (False, 0)
    world.is_open = True
    await world.watch.look()
    assert (world.memory.is_on, len(world.memory)) == (True, 0)


async def test_a_vault_that_does_not_answer_is_as_good_as_sealed(world: World) -> None:
    world.hangs = True
    began = asyncio.get_running_loop().time()
    await world.watch.look()
    assert asyncio.get_running_loop().time() - began < 0.3
    assert not world.memory.is_on


async def test_before_a_key_is_used_it_looks_again_once_for_all_who_ask(world: World) -> None:
    await asyncio.gather(*(world.watch.confirm() for _ in range(20)))
    assert world.looked == 1, "it has only just looked"
    await asyncio.sleep(0.06)
    await asyncio.gather(*(world.watch.confirm() for _ in range(20)))
    assert world.looked == 2


async def test_a_key_is_not_used_any_more_once_vault_is_sealed(world: World) -> None:
    world.is_open = False
    await asyncio.sleep(0.06)
    await world.watch.confirm()
    assert not world.memory.is_on
    await world.watch.confirm()
    assert world.looked == 2, "what is off needs no look"


async def test_it_looks_often_enough_for_half_a_second() -> None:
    job = World().watch.job()
    assert job._every_s + 0.2 < 0.5


async def test_a_lost_bus_turns_it_off_at_once_and_until_changes_are_heard_again(world: World) -> None:
    world.watch.on_lost()
    assert (world.memory.is_on, len(world.memory)) == (False, 0)
    for not_yet in (False, BusUnavailableError()):
        world.is_told = not_yet
        await world.watch.look()
        assert not world.memory.is_on
    world.is_told = True
    await world.watch.look()
    assert world.memory.is_on


async def test_a_bus_lost_while_it_was_asked_does_not_count_as_heard() -> None:
    world = World()
    world.meanwhile = world.watch.on_lost
    await world.watch.look()
    assert not world.memory.is_on


def _events(user_id: str) -> list[Message]:
    return [
        KeyStored(
            user_id=user_id,
            credential_id=new_id(),
            service=KeyService.OPENAI,
            version=2,
            status=CredentialStatus.INACTIVE,
        ),
        KeyRevoked(user_id=user_id, credential_id=UUID(int=1)),
        ConsentChanged(
            user_id=user_id, consent_id="c-1", allow_platform_fallback=False, allow_gateway_fallback=False
        ),
    ]


def _delivery(event: Message, sender: str = KEY_VAULT) -> Delivery:
    return Delivery(event_body(event, source=KEY_VAULT), sender)


@pytest.mark.parametrize("number", range(3))
async def test_every_kind_of_event_makes_it_forget_its_user(world: World, number: int) -> None:
    await world.watch.on_event(_delivery(_events("ada")[number]))
    assert (world.knows("ada"), world.knows("bob")) == (False, True)


@pytest.mark.parametrize("sender", ["", API_EDGE, INFERENCE, BILLING, "admin"])
async def test_only_key_vaults_word_counts(world: World, sender: str) -> None:
    for event in _events("ada"):
        with pytest.raises(ForbiddenError):
            await world.watch.on_event(_delivery(event, sender))
    assert world.knows("ada")


async def test_what_is_not_understood_makes_it_forget_everybody(world: World) -> None:
    """A newer replica's event, say: what it changed is not known here."""
    for body in (
        b"nonsense",
        event_body(_events("ada")[0], source=KEY_VAULT).replace(b"key.stored.v1", b"key.stored.v2"),
        event_body(_events("ada")[1], source=KEY_VAULT).replace(b"user_id", b"other"),
    ):
        world.learn("ada", "bob")
        await world.watch.on_event(Delivery(body, KEY_VAULT))
        assert len(world.memory) == 0

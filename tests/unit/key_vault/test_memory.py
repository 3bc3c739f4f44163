"""The memory of users' keys: when it answers, and all that makes it forget."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from services.key_vault.adapters.memory import KeyMemory
from services.key_vault.domain.credentials import DEFAULT_CONSENT, OwnKeys, Place, StoredCredential
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText

pytestmark = pytest.mark.unit

_KEY = SecretText("sk-test-0123456789abcdefWXYZ")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory(clock: Clock) -> KeyMemory:
    memory = KeyMemory(clock=clock)
    memory.turn_on()
    return memory


def own_of(user_id: str, *, chars: int = 40) -> OwnKeys:
    place = Place(user_id, new_id(), KeyService.OPENAI, None)
    return OwnKeys(
        (StoredCredential(place, "x" * chars, "…", None, datetime.now(UTC)),),
        DEFAULT_CONSENT,
    )


def learn(memory: KeyMemory, own: OwnKeys) -> None:
    """Remember credentials, and the key of the first."""
    credential = own.credentials[0]
    load = memory.begin(credential.place.user_id)
    memory.remember(load, own)
    memory.remember_key(load, credential.ciphertext, credential.place, _KEY)


def known_key(memory: KeyMemory, own: OwnKeys) -> SecretText | None:
    credential = own.credentials[0]
    return memory.key(credential.ciphertext, credential.place)


def test_what_was_read_is_remembered(memory: KeyMemory) -> None:
    own = own_of("ada")
    assert (memory.own("ada"), known_key(memory, own), memory.age_s("ada")) == (None, None, None)
    learn(memory, own)
    assert (memory.own("ada"), known_key(memory, own), memory.age_s("ada")) == (own, _KEY, 0)
    assert len(memory) == 1


def test_it_is_off_until_it_is_turned_on(clock: Clock) -> None:
    memory, own = KeyMemory(clock=clock), own_of("ada")
    learn(memory, own)
    assert (memory.own("ada"), len(memory)) == (None, 0)


def test_it_is_30_seconds_old_at_most_from_the_beginning_of_the_read(memory: KeyMemory, clock: Clock) -> None:
    own = own_of("ada")
    load = memory.begin("ada")
    clock.now_s += 5
    memory.remember(load, own)
    clock.now_s += 24.9
    credential = own.credentials[0]
    memory.remember_key(memory.begin("ada"), credential.ciphertext, credential.place, _KEY)
    assert memory.own("ada") is own
    assert memory.age_s("ada") == pytest.approx(29.9)
    clock.now_s += 0.1
    assert (memory.own("ada"), known_key(memory, own), memory.age_s("ada")) == (None, None, None)


def test_asking_does_not_make_it_younger(memory: KeyMemory, clock: Clock) -> None:
    learn(memory, own_of("ada"))
    for _ in range(30):
        clock.now_s += 1
        memory.own("ada")
    assert memory.own("ada") is None


def test_what_nobody_asks_for_again_does_not_stay(memory: KeyMemory, clock: Clock) -> None:
    learn(memory, own_of("ada"))
    clock.now_s += 20
    learn(memory, own_of("bob"))
    clock.now_s += 10
    memory.forget_old()
    assert list(memory._entries) == ["bob"]
    assert len(memory) == 1


def test_it_is_bounded_and_the_longest_remembered_goes_first(clock: Clock) -> None:
    memory = KeyMemory(chars_max=10_000, clock=clock)
    memory.turn_on()
    for number in range(100):
        learn(memory, own_of(f"user-{number}"))
    assert 1 <= len(memory) < 10_000 / 2_000
    assert memory.own("user-99")
    assert not memory.own("user-0")
    learn(memory, own_of("long", chars=11_000))
    assert memory.own("long") is None


def test_what_was_let_go_makes_room(clock: Clock) -> None:
    memory = KeyMemory(chars_max=10_000, clock=clock)
    memory.turn_on()
    for number in range(1_000):
        learn(memory, own_of("ada", chars=number))
        memory.forget("ada")
    assert memory._chars == 0
    learn(memory, own_of("ada"))
    memory.forget_all()
    assert memory._chars == 0


def test_a_user_is_forgotten_and_no_other(memory: KeyMemory) -> None:
    ada, bob = own_of("ada"), own_of("bob")
    learn(memory, ada)
    learn(memory, bob)
    memory.forget("ada")
    assert (memory.own("ada"), known_key(memory, ada)) == (None, None)
    assert (memory.own("bob"), known_key(memory, bob)) == (bob, _KEY)


def test_what_was_begun_before_is_not_remembered(memory: KeyMemory) -> None:
    own = own_of("ada")
    ways: list[Callable[[], None]] = [partial(memory.forget, "ada"), memory.forget_all, memory.turn_off]
    for makes_forget in ways:
        memory.turn_on()
        load = memory.begin("ada")
        makes_forget()
        memory.remember(load, own)
        assert memory.own("ada") is None
    load = memory.begin("ada")
    memory.turn_on()
    memory.remember(load, own)
    assert memory.own("ada") is None, "begun while nothing was heard"


def test_a_key_whose_decrypt_was_begun_before_is_not_remembered(memory: KeyMemory) -> None:
    own = own_of("ada")
    credential = own.credentials[0]
    early = memory.begin("ada")
    memory.forget("ada")
    memory.remember(memory.begin("ada"), own)
    memory.remember_key(early, credential.ciphertext, credential.place, _KEY)
    assert known_key(memory, own) is None


def test_turned_off_it_is_empty_and_stays_so(memory: KeyMemory) -> None:
    own = own_of("ada")
    learn(memory, own)
    memory.turn_off()
    learn(memory, own)
    assert (memory.own("ada"), known_key(memory, own), len(memory)) == (None, None, 0)
    memory.turn_on()
    assert memory.own("ada") is None


def test_turning_it_on_again_forgets_nothing(memory: KeyMemory) -> None:
    learn(memory, own_of("ada"))
    memory.turn_on()
    assert memory.own("ada")


def test_a_key_answers_for_its_own_place_and_ciphertext_only(memory: KeyMemory) -> None:
    own = own_of("ada")
    learn(memory, own)
    learn(memory, own_of("eve"))
    credential = own.credentials[0]
    for other in (
        replace(credential.place, user_id="eve"),
        replace(credential.place, version=2),
        replace(credential.place, service=KeyService.GROQ),
        replace(credential.place, base_url="https://evil.example"),
        replace(credential.place, credential_id=new_id()),
    ):
        assert memory.key(credential.ciphertext, other) is None
    assert memory.key("another", credential.place) is None


def test_only_keys_of_remembered_credentials_are_remembered(memory: KeyMemory) -> None:
    own = own_of("ada")
    credential = own.credentials[0]
    memory.remember_key(memory.begin("ada"), credential.ciphertext, credential.place, _KEY)
    assert known_key(memory, own) is None
    learn(memory, own_of("ada"))
    memory.remember_key(memory.begin("ada"), credential.ciphertext, credential.place, _KEY)
    assert known_key(memory, own) is None


def test_nothing_of_a_key_is_printed(memory: KeyMemory) -> None:
    learn(memory, own_of("ada"))
    assert _KEY.reveal() not in repr(memory._entries)

"""Session keys: what a token says, whom it serves, and how it is refused."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.domain.session import SessionClaims, read_token, write_token
from shared.kernel.errors import InvalidRequestError, UserApiKeyInvalidError, VaultUnavailableError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyPolicy, KeyService, KeySource
from shared.kernel.secret import SecretText
from tests.fakes.key_vault_asking import sealed_for, session_command, session_key, session_token
from tests.fakes.key_vault_house import GATEWAY_URL, KEY, House, request_key, soon

pytestmark = pytest.mark.unit

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def said(token: str) -> dict[str, Any]:
    text = token.removeprefix("lks_")
    decoded: dict[str, Any] = json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


def saying(claims: dict[str, Any]) -> str:
    text = json.dumps(claims, separators=(",", ":"))
    return "lks_" + urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def resolve(house: House, token: str, **fields: Any) -> tuple[str, str, str | None]:
    run_id = new_id()
    sent = session_key(house.pair.public_key, run_id, token, user_id=fields.get("user_id", "ada"))
    resolved, key = await house.resolve(run_id=run_id, session_key=sent, **fields)
    return resolved.source, key, resolved.base_url


async def refusal(house: House, token: str, **fields: Any) -> str | None:
    with pytest.raises(UserApiKeyInvalidError) as refused:
        await resolve(house, token, **fields)
    assert token not in str(refused.value)
    return refused.value.detail


# -- a token's life -----------------------------------------------------------------------------------------


async def test_a_session_key_serves_its_user_and_nothing_is_stored(house: House) -> None:
    command = session_command(house.pair.public_key)
    issued = await house.handlers.on_issue_session(command)
    assert issued.session_key.startswith("lks_")
    assert (issued.hint, issued.service, issued.base_url) == ("sk-…WXYZ", KeyService.OPENAI, None)
    assert soon(43_190) < issued.expires_at <= soon(43_200)
    assert KEY not in json.dumps(said(issued.session_key))
    assert await house.store.all_of("ada") == ()
    assert await resolve(house, issued.session_key) == (KeySource.SESSION, KEY, None)


async def test_a_session_key_is_named_as_such_and_has_no_version(house: House) -> None:
    run_id = new_id()
    sent = session_key(house.pair.public_key, run_id, await session_token(house))
    resolved, _ = await house.resolve(run_id=run_id, session_key=sent)
    assert (resolved.credential_id, resolved.credential_version) == ("session", None)


async def test_what_the_token_says_counts_not_what_is_said_beside_it(house: House) -> None:
    """Its service and address are the ones it was entered for."""
    token = await session_token(house, "gw-0000000001", service=KeyService.GATEWAY, base_url=GATEWAY_URL)
    assert await resolve(house, token) == (KeySource.SESSION, "gw-0000000001", GATEWAY_URL)


async def test_a_session_comes_after_the_request_and_before_the_stored(house: House) -> None:
    await house.keep("sk-stored-000001")
    run_id = new_id()
    both = {
        "run_id": run_id,
        "request_key": request_key(house.pair.public_key, run_id, "sk-request-000001"),
        "session_key": session_key(
            house.pair.public_key, run_id, await session_token(house, "sk-session-01")
        ),
    }
    order = [(await house.resolve(**both, excluding=excluding))[1] for excluding in _EXCLUDED]
    assert order == ["sk-request-000001", "sk-session-01", "sk-stored-000001"]


_EXCLUDED: tuple[tuple[str, ...], ...] = ((), ("request",), ("request", "session"))


@pytest.mark.parametrize("policy", [KeyPolicy.PLATFORM_ONLY, KeyPolicy.SYSTEM])
async def test_a_platform_flow_uses_no_session_key(house: House, policy: KeyPolicy) -> None:
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    token = await session_token(house)
    assert (await resolve(house, token, policy=policy))[1] == "sk-platform-000001"


# -- refusals, by name: and no other key instead ------------------------------------------------------------


async def test_an_expired_session_is_refused(house: House) -> None:
    claims = SessionClaims("ada", KeyService.OPENAI, None, soon(-1).replace(microsecond=0))
    token = write_token(claims, await house.sessions.encrypt(SecretText(KEY), claims))
    await house.keep("sk-stored-000001")
    assert await refusal(house, token) == "session_key_expired"
    assert house.platform_keys.calls == 0


async def test_another_users_session_is_refused(house: House) -> None:
    token = await session_token(house, user_id="bob")
    await house.keep("sk-stored-000001")
    assert await refusal(house, token) == "session_key_of_another_user"
    assert (await resolve(house, token, user_id="bob"))[1] == KEY


@pytest.mark.parametrize(
    "instead",
    [
        {"e": int(soon(999_999).timestamp())},
        {"s": "openrouter"},
        {"b": "https://evil.example/v1"},
        {"c": "vault:v1:AAAA"},
        {"c": ""},
        {"c": 7},
        {"v": 2},
        {"v": "1"},
        {"e": "soon"},
        {"e": True},
        {"e": 1e999},
        {"e": 10**18},
        {"s": "nowhere"},
        {"b": ["https://evil.example"]},
        {"b": "\ud800"},
        {"more": 1},
    ],
)
async def test_a_tampered_session_is_refused(house: House, instead: dict[str, Any]) -> None:
    token = saying({**said(await session_token(house)), **instead})
    assert await refusal(house, token) == "session_key_tampered"


async def test_a_session_made_anothers_by_hand_is_refused(house: House) -> None:
    """The digest in the clear is changed to ada's: the ciphertext is still bob's."""
    theirs, own = said(await session_token(house, user_id="bob")), said(await session_token(house))
    assert await refusal(house, saying({**theirs, "u": own["u"]})) == "session_key_tampered"


async def test_every_changed_character_is_noticed(house: House) -> None:
    token = await session_token(house)
    for place in range(4, len(token), 7):
        other = "A" if token[place] != "A" else "B"
        assert await refusal(house, token[:place] + other + token[place + 1 :])
    for longer in (token + "A", token + "=", token + "\n", token[:-1], token[:9] + "!" + token[9:]):
        assert await refusal(house, longer) == "session_key_tampered"


@pytest.mark.parametrize("token", ["lks_", "lks_AAAA", "lks_é", KEY, "lks_" + "W10", "x"])
async def test_what_is_no_token_is_refused(house: House, token: str) -> None:
    assert await refusal(house, token) == "session_key_tampered"


@given(st.text(max_size=80))
def test_a_token_is_judged_whatever_it_holds(text: str) -> None:
    for token in (text, f"lks_{text}"):
        with pytest.raises(UserApiKeyInvalidError):
            read_token(SecretText(token), "ada", NOW)


@given(st.sampled_from(KeyService), st.none() | st.just(GATEWAY_URL), st.integers(1, 10**9), st.text())
def test_what_was_written_is_read(service: KeyService, base_url: str | None, left_s: int, text: str) -> None:
    claims = SessionClaims("ada", service, base_url, NOW + timedelta(seconds=left_s))
    token = SecretText(write_token(claims, text))
    assert read_token(token, "ada", NOW) == (claims, text)
    with pytest.raises(UserApiKeyInvalidError):
        read_token(token, "bob", NOW)
    with pytest.raises(UserApiKeyInvalidError):
        read_token(token, "ada", claims.expires_at)


async def test_a_session_key_that_cannot_serve_is_refused_not_passed_over(house: House) -> None:
    await house.keep("sk-stored-000001")
    token = await session_token(house, service=KeyService.GROQ)
    with pytest.raises(InvalidRequestError):
        await resolve(house, token)


async def test_a_session_token_of_another_run_is_refused(house: House) -> None:
    sent = session_key(house.pair.public_key, new_id(), await session_token(house))
    with pytest.raises(InvalidRequestError):
        await house.resolve(session_key=sent)


async def test_without_the_cipher_no_other_key(house: House) -> None:
    token = await session_token(house)
    await house.keep("sk-stored-000001")
    await house.platform_keys.put(KeyService.OPENAI, "sk-platform-000001")
    house.sessions.fails = VaultUnavailableError()
    with pytest.raises(VaultUnavailableError):
        await resolve(house, token)
    assert house.platform_keys.calls == 0


# -- entering -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "sk x", "sk-x\n", "clé-0123456789", "x" * 4097])
async def test_nonsense_gets_no_session(house: House, key: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        await session_token(house, key)
    assert not key or key not in str(refused.value)


async def test_the_longest_key_still_fits_into_a_sealed_message(house: House) -> None:
    longest = "x" * 4096
    fields = {"service": KeyService.GATEWAY, "base_url": "https://" + "a" * 500}
    token = await session_token(house, longest, **fields)
    assert (await resolve(house, token))[1] == longest


@pytest.mark.parametrize("purpose", ["store", "request", "validate"])
async def test_a_key_sealed_for_something_else_gets_no_session(house: House, purpose: str) -> None:
    sealed = sealed_for(house.pair.public_key, KEY, purpose=purpose)
    command = session_command(house.pair.public_key).model_copy(update={"sealed": sealed})
    with pytest.raises(InvalidRequestError):
        await house.handlers.on_issue_session(command)


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "eve"},
        {"service": KeyService.GROQ},
        {"base_url": "https://evil.example"},
        {"base_url": "http://plain.example"},
        {"service": KeyService.GATEWAY},
    ],
)
async def test_a_changed_command_gets_no_session(house: House, changed: dict[str, Any]) -> None:
    command = session_command(house.pair.public_key).model_copy(update=changed)
    with pytest.raises(InvalidRequestError):
        await house.handlers.on_issue_session(command)

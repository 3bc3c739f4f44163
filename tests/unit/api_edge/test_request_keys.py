"""Keys in headers: which of several travel, what for, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api_edge.domain.entered_keys import entered_key
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.request_keys import KEY_HEADERS, SentKey, SentKeys, sent_keys
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText

pytestmark = pytest.mark.unit

OPENAI, OPENROUTER, GATEWAY = KeyService.OPENAI, KeyService.OPENROUTER, KeyService.GATEWAY
URL = "https://gateway.example/v1"
TOKEN = "lks_" + "a" * 40


def _key(service: KeyService, key: str, base_url: str | None = None) -> SentKey:
    return SentKey(service, SecretText(key), base_url)


def test_an_address_does_not_show_the_key() -> None:
    headers = {"x-gateway-key": "odd-key-12345", "x-gateway-base-url": "https://llm.example/odd-key-12345/v1"}
    with pytest.raises(BadInputError) as refused:
        sent_keys(headers, KeyService.OPENAI)
    assert refused.value.param == "x-gateway-base-url"
    assert sent_keys({**headers, "x-gateway-key": "v1"}, KeyService.OPENAI).plain, "a word is no secret"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"x-openai-key": "sk-own"}, _key(OPENAI, "sk-own")),
        ({"x-provider-key": " sk-any "}, _key(OPENAI, "sk-any")),
        ({"x-openrouter-key": "sk-or-1"}, _key(OPENROUTER, "sk-or-1")),
        ({"x-gateway-key": "vck-1", "x-gateway-base-url": f" {URL} "}, _key(GATEWAY, "vck-1", URL)),
        ({"x-groq-key": "gsk_other"}, None),
        ({"x-gateway-base-url": "nonsense"}, None),
    ],
)
def test_a_plain_key(headers: dict[str, str], expected: SentKey | None) -> None:
    assert sent_keys(headers, OPENAI) == SentKeys(() if expected is None else (expected,))
    assert sent_keys(headers, OPENAI).any == (expected is not None)


def test_several_plain_keys_travel_in_order() -> None:
    headers = {
        "x-openrouter-key": "sk-or-1",
        "x-openai-key": "sk-own",
        "x-gateway-base-url": URL,
        "x-gateway-key": "vck-1",
        "x-provider-key": "sk-any",
    }
    found = [(sent.service, sent.key.reveal()) for sent in sent_keys(headers, OPENAI).plain]
    assert found == [(OPENAI, "sk-any"), (GATEWAY, "vck-1"), (OPENAI, "sk-own"), (OPENROUTER, "sk-or-1")]


def test_a_key_sent_twice_travels_once() -> None:
    sent = sent_keys({"x-provider-key": "sk-own", "x-openai-key": "sk-own"}, OPENAI)
    assert sent.plain == (_key(OPENAI, "sk-own"),)


@pytest.mark.parametrize(
    ("header", "service"),
    [
        ("x-provider-key", OPENAI),
        ("x-openai-key", OPENAI),
        ("x-gateway-key", GATEWAY),
        ("x-openrouter-key", OPENROUTER),
    ],
)
def test_a_session_token_may_stand_in_every_header_and_needs_no_address(
    header: str, service: KeyService
) -> None:
    assert sent_keys({header: TOKEN}, OPENAI) == SentKeys((), _key(service, TOKEN))


def test_a_plain_key_and_a_session_token_come_together() -> None:
    headers = {"x-provider-key": TOKEN, "x-openai-key": "sk-own", "x-openrouter-key": "lks_second"}
    assert sent_keys(headers, OPENAI) == SentKeys((_key(OPENAI, "sk-own"),), _key(OPENAI, TOKEN))


@pytest.mark.parametrize("header", ["x-provider-key", "x-gateway-key"])
def test_a_run_at_a_gateway_needs_its_address(header: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        sent_keys({header: "vck-1"}, GATEWAY)
    assert (refusal.value.reason, refusal.value.param) == ("required", "x-gateway-base-url")
    assert sent_keys({header: "vck-1", "x-gateway-base-url": URL}, GATEWAY).plain == (
        _key(GATEWAY, "vck-1", URL),
    )


@pytest.mark.parametrize(
    "address",
    [
        "http://gateway.example",
        "HTTPS://gateway.example",
        "gateway.example",
        "https://user@gateway.example",
        "https://gateway.example/?key=1",
        "https://gateway.example/#x",
        "https://gateway.example/a b",
        "https://gateway.example\\@evil.example",
        "https://gäteway.example",
        "https://gateway.example/sk-canary-0123456789",
        "https://gateway.example:8443/v1",
        "https:///v1",
        "https://" + "a" * 512,
        "file:///etc/passwd",
    ],
)
def test_a_bad_address_is_refused(address: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        sent_keys({"x-gateway-key": "vck-1", "x-gateway-base-url": address}, OPENAI)
    assert (refusal.value.reason, refusal.value.param) == ("wrong_value", "x-gateway-base-url")
    assert address not in refusal.value.message


@pytest.mark.parametrize("value", ["", "  ", "two words", "tab\tbed", "kéy", "a\x00b", "k" * 8193])
def test_what_can_be_no_key_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        sent_keys({"x-openai-key": value}, OPENAI)
    assert refusal.value.param == "x-openai-key"
    assert not value.strip() or value not in refusal.value.message


@pytest.mark.parametrize("value", ["lks_two words", "lks_kéy", "lks_" + "a" * 12_000])
def test_what_can_be_no_session_token_is_refused_without_repeating_it(value: str) -> None:
    with pytest.raises(BadInputError) as refusal:
        sent_keys({"x-openrouter-key": value}, OPENAI)
    assert refusal.value.param == "x-openrouter-key"
    assert value not in refusal.value.message


def test_a_key_that_would_not_travel_is_checked_all_the_same() -> None:
    with pytest.raises(BadInputError):
        sent_keys({"x-provider-key": "sk-any", "x-openai-key": "two words"}, OPENAI)


def test_a_session_token_is_no_key_to_store() -> None:
    with pytest.raises(BadInputError) as refusal:
        entered_key(SecretText(f" {TOKEN}"))
    assert (refusal.value.reason, refusal.value.param) == ("session_key_here", "api_key")


def test_every_service_has_its_header() -> None:
    keys = {name.lower() for name in KEY_HEADERS}
    assert keys == {"x-provider-key", "x-gateway-base-url", *(f"x-{service}-key" for service in KeyService)}


_headers = st.dictionaries(
    st.sampled_from([name.lower() for name in KEY_HEADERS]),
    st.sampled_from([TOKEN, URL, "sk-one", "sk-two", ""]) | st.text(max_size=30),
)


@given(headers=_headers, provider=st.sampled_from(KeyService))
def test_what_travels_was_sent_for_this_run(headers: dict[str, str], provider: KeyService) -> None:
    try:
        sent = sent_keys(headers, provider)
    except BadInputError:
        return
    values = [value.strip() for value in headers.values()]
    for key in (*sent.plain, sent.session):
        if key is not None:
            assert key.key.reveal() in values
            assert key.service in {provider, OPENROUTER, GATEWAY}
    assert sent.session is None or sent.session.key.reveal().startswith("lks_")
    assert not any(one.key.reveal().startswith("lks_") for one in sent.plain)
    assert all((one.base_url is None) == (one.service is not GATEWAY) for one in sent.plain)

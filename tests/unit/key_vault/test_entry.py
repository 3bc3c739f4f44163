"""What may enter, and that a refusal says nothing of what it refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.key_vault.domain.entry import (
    check_base_url,
    check_key,
    check_label,
    check_user_id,
)
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, is_provider_key

pytestmark = pytest.mark.unit

_VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=200)


@given(_VISIBLE)
def test_visible_ascii_is_a_key(text: str) -> None:
    check_key(SecretText(text))


@given(st.text(min_size=1), st.sampled_from(" \t\n\r\x00\x7f\x1bé\u200b\U0001f511"), st.text())
def test_anything_else_anywhere_is_none(before: str, wrong: str, after: str) -> None:
    assert not is_provider_key(SecretText(before + wrong + after))


@pytest.mark.parametrize("key", ["", " ", "sk-x\n", "sk x", "x" * 8193, "sk-\r\nX-Evil: 1", "sk-naïve"])
def test_a_refused_key_is_not_echoed(key: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_key(SecretText(key))
    assert not key.strip() or key.strip() not in str(refused.value)


def test_the_longest_key_is_8_kib() -> None:
    check_key(SecretText("x" * 8192))


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example",
        "https://api.example/",
        "https://api.example:443/v1",
        "https://10.0.0.1/v1",  # the egress guard's business, not ours
        "https://[2001:db8::1]/v1",
    ],
)
def test_plain_https_may_be_a_base_url(url: str) -> None:
    check_base_url(KeyService.OPENAI, url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://api.example/v1",
        "ftp://api.example",
        "HTTPS://api.example/v1",
        "//api.example/v1",
        "https://",
        "https:///v1",
        "https://user@api.example",
        "https://user:pass@api.example",
        "https://api.example/v1?key=1",
        "https://api.example/v1?",
        "https://api.example/v1#x",
        "https://api.example:0/v1",
        "https://api.example:8443/v1",
        "https://api.example:99999/v1",
        "https://api.example:/v1",
        "https://api.example:port/v1",
        "https://[::1/v1",
        "https://api.example\\@evil.example",
        "https://api.example/ v1",
        "https://api.example/v1\r\nHost: evil",
        "https://exämple.test",
        "https://api.example/" + "a" * 512,
        "https://api.example/sk-0123456789abcdef/v1",
    ],
)
def test_nothing_else_may(url: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        check_base_url(KeyService.OPENAI, url)
    assert not url or url not in str(refused.value)


@given(st.text(max_size=60))
def test_a_base_url_is_judged_whatever_it_holds(text: str) -> None:
    for url in (text, f"https://{text}"):
        try:
            check_base_url(KeyService.OPENAI, url)
        except InvalidRequestError:
            continue
        assert url.startswith("https://")
        assert not set(url) & set("?#@\\ \r\n\0")


def test_only_a_gateway_needs_a_base_url() -> None:
    for service in KeyService:
        if service is KeyService.GATEWAY:
            with pytest.raises(InvalidRequestError):
                check_base_url(service, None)
        else:
            check_base_url(service, None)


@pytest.mark.parametrize("user_id", ["", "x" * 129, "a\x00b", "a\nb"])
def test_no_such_user_id(user_id: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_user_id(user_id)


@pytest.mark.parametrize("label", ["a\x00b", "two\nlines", "x" * 201, "mine (sk-0123456789)"])
def test_no_such_label(label: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_label(label)


@pytest.mark.parametrize("label", [None, "", "Ada's laptop, più veloce"])
def test_labels(label: str | None) -> None:
    check_label(label)

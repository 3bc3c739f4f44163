"""The hound that looks for keys."""

import base64
from urllib.parse import quote, quote_plus

import pytest

from tests.traces import traces

pytestmark = pytest.mark.unit

SECRET = "sk-canary-0123456789abcdef"


@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b"abcd"])
def test_it_smells_a_secret_in_any_shape(before: bytes) -> None:
    text = before + SECRET.encode() + b" and more"
    for shape in (text, text.hex().encode(), base64.b64encode(text), base64.urlsafe_b64encode(text)):
        assert traces(SECRET, [b"nothing", shape]), shape


def test_it_smells_a_secret_in_a_url() -> None:
    secret = "sk-canary-+0123456789"
    for text in (quote(secret), quote(secret, safe=""), quote_plus(secret).replace("%2B", "%2b")):
        assert traces(secret, [f"https://example.com/?key={text}"]), text


def test_it_smells_nothing_where_nothing_is() -> None:
    assert traces(SECRET, ["sk-…cdef", base64.b64encode(b"another thing").decode()]) == []

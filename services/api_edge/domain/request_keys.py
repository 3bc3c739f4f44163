"""Keys that a client sends with one request, in headers: plain ones, and session tokens (`lks_…`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.api_edge.domain.errors import BadInputError
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, holds_secret, is_provider_key

KEY_HEADERS: Final = (
    "X-Provider-Key",
    "X-Gateway-Key",
    "X-Gateway-Base-URL",
    "X-OpenAI-Key",
    "X-Anthropic-Key",
    "X-Groq-Key",
    "X-Gemini-Key",
    "X-XAI-Key",
    "X-OpenRouter-Key",
)
_BASE_URL: Final = "x-gateway-base-url"
_BASE_URL_CHARS_MAX: Final = 512
_NOT_IN_URLS: Final = frozenset(" ?#@\\")
_SESSION_PREFIX: Final = "lks_"
_SESSION_CHARS_MAX: Final = 12_000
"""What a sealed message holds."""


@dataclass(frozen=True, slots=True)
class SentKey:
    """`service`: what the header says that it is for; a session token says it itself."""

    service: KeyService
    key: SecretText
    base_url: str | None = None


@dataclass(frozen=True, slots=True)
class SentKeys:
    """At most one of each kind."""

    plain: SentKey | None = None
    session: SentKey | None = None

    @property
    def any(self) -> bool:
        return self.plain is not None or self.session is not None


def sent_keys(headers: Mapping[str, str], provider: KeyService) -> SentKeys:
    """Return the keys for a run at `provider`; of several of a kind the first in order.

    `X-Provider-Key`, `X-Gateway-Key` (a gateway serves every provider), the provider's own header, and
    `X-OpenRouter-Key`, which serves every provider, too. Header names in lower case.
    Raises BadInputError, without the value, for one that can be no key, or a gateway's without its address.
    """
    candidates = {
        "x-provider-key": provider,
        "x-gateway-key": KeyService.GATEWAY,
        f"x-{provider.value}-key": provider,
        "x-openrouter-key": KeyService.OPENROUTER,
    }
    plain = session = None
    for header, service in candidates.items():
        if (value := headers.get(header)) is None:
            continue
        if value.strip().startswith(_SESSION_PREFIX):
            token = SentKey(service, _session_token(value, header))
            session = session or token
        else:
            key = SentKey(service, usable_key(value, header), _address(service, headers))
            plain = plain or key
    return SentKeys(plain, session)


def usable_key(value: str, param: str) -> SecretText:
    """Return a key as it can be sent to a provider. Raises BadInputError, without the value, for others."""
    key = SecretText(value.strip())
    if key.reveal().startswith(_SESSION_PREFIX) or not is_provider_key(key):
        raise BadInputError("wrong_value", param)
    return key


def _session_token(value: str, param: str) -> SecretText:
    token = value.strip()
    if len(token) > _SESSION_CHARS_MAX or not _is_visible_ascii(token):
        raise BadInputError("wrong_value", param)
    return SecretText(token)


def _address(service: KeyService, headers: Mapping[str, str]) -> str | None:
    """Return where a gateway is. Whether it may be called is the egress guard's business."""
    if service is not KeyService.GATEWAY:
        return None
    address = (headers.get(_BASE_URL) or "").strip()
    if not address:
        raise BadInputError("required", _BASE_URL)
    if not _is_plain_https(address) or holds_secret(address):
        raise BadInputError("wrong_value", _BASE_URL)
    return address


def _is_plain_https(text: str) -> bool:
    return (
        len(text) <= _BASE_URL_CHARS_MAX
        and text.startswith("https://")
        and _is_visible_ascii(text)
        and _NOT_IN_URLS.isdisjoint(text)
    )


def _is_visible_ascii(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text

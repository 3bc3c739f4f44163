"""Keys that a client sends with one request, in headers: plain ones, and session tokens (`lks_…`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.api_edge.domain.errors import BadInputError
from shared.kernel.base_url import is_base_url
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, is_provider_key, is_visible_ascii

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
_SESSION_PREFIX: Final = "lks_"
_SESSION_CHARS_MAX: Final = 12_000
"""What a sealed message holds."""


@dataclass(frozen=True, slots=True)
class SentKey:
    """A key as a client sent it, in a header or a body. `service`: what it is said to be for; a session token
    says it itself.
    """

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
        if is_session_key(value):
            token = SentKey(service, _session_token(value, header))
            session = session or token
        else:
            key = usable_key(value, header)
            plain = plain or SentKey(service, key, _address(service, key, headers))
    return SentKeys(plain, session)


def is_session_key(value: str) -> bool:
    return value.strip().startswith(_SESSION_PREFIX)


def usable_key(value: str, param: str) -> SecretText:
    """Return a key as it can be sent to a provider. Raises BadInputError, without the value, for others."""
    key = SecretText(value.strip())
    if not is_provider_key(key):
        raise BadInputError("wrong_value", param)
    return key


def _session_token(value: str, param: str) -> SecretText:
    token = value.strip()
    if len(token) > _SESSION_CHARS_MAX or not is_visible_ascii(token):
        raise BadInputError("wrong_value", param)
    return SecretText(token)


def _address(service: KeyService, key: SecretText, headers: Mapping[str, str]) -> str | None:
    """Return where a gateway is. It travels in the clear, so the key is not to stand in it."""
    if service is not KeyService.GATEWAY:
        return None
    address = (headers.get(_BASE_URL) or "").strip()
    if not address:
        raise BadInputError("required", _BASE_URL)
    if not is_base_url(address) or key.stands_in(address):
        raise BadInputError("wrong_value", _BASE_URL)
    return address

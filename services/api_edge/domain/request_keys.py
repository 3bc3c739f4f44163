"""Keys that a client sends with one request, in headers: plain ones, and session tokens (`lks_…`)."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.session_tokens import service_of
from shared.kernel.base_url import is_base_url
from shared.kernel.key_order import own_services
from shared.kernel.names import SESSION_KEY_PREFIX, KeyService
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
_ANY_PROVIDERS: Final = "x-provider-key"
_BASE_URL: Final = "x-gateway-base-url"
_SESSION_TOKEN_CHARS_MAX: Final = 12_000
"""What a sealed message holds."""


@dataclass(frozen=True, slots=True)
class SentKey:
    """A key as a client sent it, in a header or a body. `service`: what it is said to be for; a session token
    says it itself.
    """

    service: KeyService
    key: SecretText
    base_url: str | None = None

    @property
    def is_session(self) -> bool:
        return is_session_key(self.key.reveal())

    def can_serve(self, provider: KeyService) -> bool:
        """Say whether it could call this provider's models. A token that cannot be read may say anything."""
        said = service_of(self.key.reveal()) if self.is_session else None
        return (said or self.service) in own_services(provider)


@dataclass(frozen=True, slots=True)
class SentKeys:
    """The plain ones in the order in which they are tried, each once; of session keys the first."""

    plain: tuple[SentKey, ...] = ()
    session: SentKey | None = None

    @property
    def any(self) -> bool:
        return bool(self.plain) or self.session is not None


def sent_keys(headers: Mapping[str, str], provider: KeyService, *, in_council: bool = False) -> SentKeys:
    """Return the keys for a run at `provider`, in order.

    `X-Provider-Key`, `X-Gateway-Key` (a gateway serves every provider), the provider's own header, and
    `X-OpenRouter-Key`, which serves every provider, too. Header names in lower case. `in_council`: they came
    for runs at other providers, too, so one that cannot serve this one is passed over.
    Raises BadInputError, without the value, for one that can be no key, or a gateway's without its address.
    """
    candidates = {
        _ANY_PROVIDERS: provider,
        "x-gateway-key": KeyService.GATEWAY,
        f"x-{provider.value}-key": provider,
        "x-openrouter-key": KeyService.OPENROUTER,
    }
    sent = [_sent(name, service, headers) for name, service in candidates.items() if name in headers]
    if in_council:
        sent = [one for one in sent if one.can_serve(provider)]
    plain = tuple(dict.fromkeys(one for one in sent if not one.is_session))
    return SentKeys(plain, next((one for one in sent if one.is_session), None))


def check_is_for_all(headers: Mapping[str, str], providers: Collection[KeyService]) -> None:
    """Refuse a plain `X-Provider-Key` for runs at several providers: all of them would get it."""
    value = headers.get(_ANY_PROVIDERS)
    if value is not None and not is_session_key(value) and len(set(providers)) > 1:
        raise BadInputError("key_of_which_provider", "X-Provider-Key")


def is_session_key(value: str) -> bool:
    return value.strip().startswith(SESSION_KEY_PREFIX)


def usable_key(value: str, param: str) -> SecretText:
    """Return a key as it can be sent to a provider. Raises BadInputError, without the value, for others."""
    key = SecretText(value.strip())
    if not is_provider_key(key):
        raise BadInputError("wrong_value", param)
    return key


def _sent(header: str, service: KeyService, headers: Mapping[str, str]) -> SentKey:
    value = headers[header]
    if is_session_key(value):
        return SentKey(service, _session_token(value, header))
    key = usable_key(value, header)
    return SentKey(service, key, _address(service, key, headers))


def _session_token(value: str, param: str) -> SecretText:
    token = value.strip()
    if len(token) > _SESSION_TOKEN_CHARS_MAX or not is_visible_ascii(token):
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
